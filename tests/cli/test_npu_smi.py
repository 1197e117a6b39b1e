"""The table of `npu-smi info`, in its known layouts."""

import pytest
from npu_smi_samples import ONE_310P, ONE_910B_WITH_DDR_AND_HBM, ONE_910C_WITH_TWO_CHIPS, TWO_910B3

from ms_omni.hardware.cards import Card, parse_npu_smi


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        (TWO_910B3, [Card(0, "910B3", "OK", 53984, 65536, 90.7), Card(1, "910B3", "Warning", 3318, 65536, 96.9)]),
        (
            ONE_910C_WITH_TWO_CHIPS,
            [Card(2, "Ascend910", "OK", 3161, 65536, 172.3), Card(3, "Ascend910", "OK", 2893, 65536)],
        ),
        (ONE_910B_WITH_DDR_AND_HBM, [Card(0, "910B", "OK", 1, 32768, 79.4)]),
        (ONE_310P, [Card(0, "310P3", "OK", 1701, 21527)]),
        ("", []),
        ("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005", []),
    ],
)
def test_layouts(text, cards):
    assert parse_npu_smi(text) == cards


def test_free_memory():
    assert parse_npu_smi(TWO_910B3)[0].free_mib == 65536 - 53984
    assert Card(0, "x", "OK", None, None).free_mib is None
