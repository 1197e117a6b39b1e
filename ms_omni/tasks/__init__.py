"""The tasks of the model's documents: what to ask, how, and what is in the answers."""

from ms_omni.answer_parts import opens_reasoning
from ms_omni.tasks.answer import read_answer
from ms_omni.tasks.functions import check_schemas
from ms_omni.tasks.request import TaskRequest, conversation
from ms_omni.tasks.table import TASKS, get_task, interaction_system
from ms_omni.tasks.task import Prompt, Task
from ms_omni.tasks.variant import Variant, variant_of

__all__ = [
    "TASKS",
    "Prompt",
    "Task",
    "TaskRequest",
    "Variant",
    "check_schemas",
    "conversation",
    "get_task",
    "interaction_system",
    "opens_reasoning",
    "read_answer",
    "variant_of",
]
