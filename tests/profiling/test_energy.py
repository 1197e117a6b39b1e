"""Energy of the cards: the area below the readings of their power."""

import pytest

from ms_omni.profiling.energy import EnergyMeter, joules


def test_the_area_below_readings_at_uneven_times():
    assert joules([(0.0, 100.0), (1.0, 200.0), (3.0, 200.0)]) == pytest.approx(150 + 400)
    assert joules([(0.0, 100.0)]) is None


def test_all_cards_count_from_start_to_stop():
    times = iter([10.0, 14.0])
    meter = EnergyMeter(lambda: [50.0, 70.0], interval_s=60, clock=lambda: next(times))
    meter.start()
    assert meter.stop() == pytest.approx(4 * 120)


def test_power_is_read_again_while_the_work_goes_on():
    import threading

    enough, readings = threading.Event(), []

    def read():
        readings.append(1)
        if len(readings) == 4:
            enough.set()
        return [1.0]

    meter = EnergyMeter(read, interval_s=0.001)
    meter.start()
    assert enough.wait(60)
    assert meter.stop() > 0


@pytest.mark.parametrize("nothing", [None, []])
def test_where_there_is_nothing_to_read_there_is_no_figure(nothing):
    meter = EnergyMeter(lambda: nothing)
    meter.start()
    assert meter.stop() is None


def test_a_second_measurement_does_not_count_the_first():
    times = iter([0.0, 1.0, 100.0, 102.0])
    meter = EnergyMeter(lambda: [10.0], interval_s=60, clock=lambda: next(times))
    meter.start()
    assert meter.stop() == pytest.approx(10)
    meter.start()
    assert meter.stop() == pytest.approx(20)
