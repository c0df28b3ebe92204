"""What can be trained from the command line: a module each.

A recipe is a frozen dataclass of flags that knows its data, its model and its
measures. To add one, write its module and name it here; the command `attend`
and everything that reads a run find it here.
"""

from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.trainer import TrainConfig

RECIPES: dict[str, type[TrainConfig]] = {
    recipe.name: recipe for recipe in (ChatbotConfig, DatesConfig)
}
