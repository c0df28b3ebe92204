"""The runs that do not fit into a chapter: `python -m attend.experiments NAME`.

There is a module for each chapter. A run writes `results/NAME.json` with its
command, commit, seeds, time and machine. Chapters read these files with
`attend.results.load` and draw them.
"""

from attend.experiments import attention, beam_search, chatbot, encoder_decoder

EXPERIMENTS = {
    run.__name__: run
    for run in (
        encoder_decoder.bottleneck,
        encoder_decoder.layers,
        attention.attention_reverse,
        attention.attention_dates,
        attention.scores_dates,
        beam_search.beam_curse,
        beam_search.beam_training,
        chatbot.chatbot,
        chatbot.chatbot_attention,
        chatbot.chatbot_public,
    )
}
