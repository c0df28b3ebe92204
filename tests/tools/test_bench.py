"""The benchmark times both searches, and fails where a beam costs too much.

Both do the same work.
"""

import pytest

from tools import bench


@pytest.mark.parametrize(("slow", "status"), [(4.9, 0), (5.1, 1)])
def test_the_limit_is_kept(
    slow: float,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ratios(attention: str, vocab_size: int) -> dict[int, float]:
        worst = attention == "luong" and vocab_size == 1_000
        # only k = 4 has a limit
        return {1: 1.0, 2: 2.0, 4: slow if worst else 4.0, 8: 9.0}

    monkeypatch.setattr(bench, "ratios", ratios)
    assert bench.main() == status
    printed = capsys.readouterr().out
    assert f"costs at most {slow:.2f} times greedy search" in printed
    assert ("ABOVE" in printed) == bool(status)


def test_both_searches_take_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SENTENCES", 3)
    monkeypatch.setattr(bench, "ROUNDS", 1)
    lengths = []
    for name in ("greedy", "beam_search"):
        search = getattr(bench, name)

        def watched(*arguments, search=search, **options):
            found = search(*arguments, **options)
            lengths.append(found.lengths.unique().tolist())
            return found

        monkeypatch.setattr(bench, name, watched)
    measured = bench.ratios("bahdanau", 11)
    assert set(measured) == set(bench.BEAM_SIZES) and all(
        ratio > 0 for ratio in measured.values()
    )
    assert len(lengths) == 2 * (1 + len(bench.BEAM_SIZES))
    assert all(length == [bench.STEPS] for length in lengths)
