"""Pictures and videos as descriptions: objects, ground, size. How they are drawn is render.py's and draw.py's job."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
from words import COLOURS, DIRECTIONS, PLACES, SHAPES

COLOUR_NAMES = tuple(COLOURS)
ANGLES = 720

# Limits of the processors, in pixels after resizing: 36 to 56 tokens a picture, or for two frames of a video.
PIXELS = (36 * 1024, 56 * 1024)
# Frames of a video: decord, which the reference reads with, fails on some that are narrower.
NARROWEST = 96


def _polygon(points: list[tuple[float, float]]) -> np.ndarray:
    """Radius at ANGLES angles of a star-shaped polygon around the origin, at most 1."""
    corners = np.asarray(points, dtype=np.float64)
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    radius = np.full(ANGLES, np.inf)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=False):
        ex, ey = x1 - x0, y1 - y0
        denominator = np.cos(angles) * ey - np.sin(angles) * ex
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (x0 * ey - y0 * ex) / denominator
            share = (x0 * np.sin(angles) - y0 * np.cos(angles)) / denominator
        hit = (along > 0) & (share >= -1e-9) & (share <= 1 + 1e-9)
        radius = np.where(hit & (along < radius), along, radius)
    return radius / radius.max()


def _star_points(count: int, inner: float) -> list[tuple[float, float]]:
    angles = [-math.pi / 2 + index * math.pi / count for index in range(2 * count)]
    return [
        ((inner if i % 2 else 1) * math.cos(a), (inner if i % 2 else 1) * math.sin(a)) for i, a in enumerate(angles)
    ]


def _cross_points(width: float) -> list[tuple[float, float]]:
    w = width
    return [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]


def radius_table() -> np.ndarray:
    """float32 (shapes, ANGLES): the outline of each shape, as the largest radius 1 in every direction."""
    triangle = [(math.cos(a), math.sin(a)) for a in (-math.pi / 2, math.pi / 6, 5 * math.pi / 6)]
    rows = [
        np.ones(ANGLES),
        _polygon([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        _polygon(triangle),
        _polygon(_star_points(5, 0.42)),
        _polygon(_cross_points(0.34)),
    ]
    return np.stack(rows).astype(np.float32)


@dataclass
class Thing:
    """One object. Centre and radius in pixels of the original picture; `end` is where it moves to (None: it stays)."""

    shape: int
    colour: int
    rgb: tuple[int, int, int]
    x: float
    y: float
    r: float
    rot: float
    end: tuple[float, float] | None = None
    direction: str | None = None

    @property
    def name(self) -> str:
        return f"{COLOUR_NAMES[self.colour]} {SHAPES[self.shape]}"

    def at(self, progress: float) -> tuple[float, float]:
        """Centre at `progress` (0 to 1) of the movement."""
        if self.end is None:
            return self.x, self.y
        return self.x + progress * (self.end[0] - self.x), self.y + progress * (self.end[1] - self.y)


@dataclass
class Scene:
    """`width`, `height`: of the file. Ground: colour above and below (a gradient), perhaps a floor. Videos: `seconds`
    and the part of it in which things move."""

    width: int
    height: int
    ground: tuple[tuple[int, int, int], tuple[int, int, int]]
    things: list[Thing]
    floor: tuple[float, tuple[int, int, int]] | None = None
    seconds: float = 0.0
    window: tuple[float, float] = (0.0, 1.0)
    noise: float = 0.0
    softness: float = 1.0
    target: tuple[int, int] = field(default=(0, 0))

    def progress(self, share: float) -> float:
        first, last = self.window
        return min(1.0, max(0.0, (share - first) / (last - first)))


def smart_resize(height: float, width: float, factor: int, low: float, high: float) -> tuple[int, int]:
    """Sides that are multiples of `factor` with an area in [low, high], as the processors compute them."""
    h, w = max(factor, round(height / factor) * factor), max(factor, round(width / factor) * factor)
    if h * w > high:
        beta = math.sqrt(height * width / high)
        h, w = (max(factor, math.floor(side / beta / factor) * factor) for side in (height, width))
    elif h * w < low:
        beta = math.sqrt(low / (height * width))
        h, w = (math.ceil(side * beta / factor) * factor for side in (height, width))
    return h, w


def image_target(height: int, width: int) -> tuple[int, int]:
    """(height, width) that an image of this size has when it is cut into patches: two resizes, one after the other."""
    return smart_resize(*smart_resize(height, width, 28, 4 * 784, 16384 * 784), 32, *PIXELS)


def video_target(height: int, width: int) -> tuple[int, int]:
    """The same for the frames of a video."""
    return smart_resize(*smart_resize(height, width, 28, 128 * 784, 768 * 784), 32, *PIXELS)


def num_frames(seconds: float) -> int:
    """Frames that the reader takes from a video: two a second, an even number, at least 4."""
    return max(4, int(seconds * 2) // 2 * 2)


def random_size(rng: random.Random, largest: int = 2400) -> tuple[int, int]:
    """(width, height): any area, proportions mostly up to 2 : 1, some to 4 : 1."""
    spread = math.log(4) if rng.random() < 0.1 else math.log(2)
    ratio = math.exp(rng.uniform(-spread, spread))
    side = math.exp(rng.uniform(math.log(72), math.log(largest)))
    return max(48, round(side * math.sqrt(ratio))), max(48, round(side / math.sqrt(ratio)))


def _ground(rng: random.Random) -> tuple[int, int, int]:
    """A muted colour, a grey, white or black: no colour that a thing has."""
    kind = rng.random()
    if kind < 0.25:
        level = rng.randint(215, 255)
        return level, min(255, level + rng.randint(-6, 6)), min(255, level + rng.randint(-6, 6))
    if kind < 0.4:
        return tuple(rng.randint(0, 28) for _ in range(3))  # type: ignore[return-value]
    level = rng.randint(40, 220)
    return tuple(max(0, min(255, level + rng.randint(-22, 22))) for _ in range(3))  # type: ignore[return-value]


def _floor(rng: random.Random) -> tuple[float, tuple[int, int, int]]:
    """Where it begins, as a share of the height, and its colour."""
    level = rng.randint(60, 200)
    return rng.uniform(0.75, 0.92), (level, level, max(0, level - 15))


def _rgb(rng: random.Random, colour: int) -> tuple[int, int, int]:
    base = COLOURS[COLOUR_NAMES[colour]]
    dark = rng.uniform(0.85, 1.0)
    return tuple(max(0, min(255, round(dark * value + rng.randint(-14, 14)))) for value in base)  # type: ignore[return-value]


def _far(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=False)) > 80**2


def _blank(rng: random.Random, size: tuple[int, int] | None) -> Scene:
    width, height = size or random_size(rng)
    ground = _ground(rng)
    second = ground
    if rng.random() < 0.3:
        shift = rng.randint(-30, 30)
        second = tuple(max(0, min(255, value + shift)) for value in ground)  # type: ignore[assignment]
    scene = Scene(width, height, (ground, second), [])
    scene.noise = rng.choice((0.0, 0.0, 2.0, 5.0))
    scene.softness = math.exp(rng.uniform(math.log(0.5), math.log(2.5)))
    return scene


def _look(rng: random.Random, scene: Scene, used: set[tuple[int, int]]) -> tuple[int, int, tuple[int, int, int]]:
    grounds = [*scene.ground, *([scene.floor[1]] if scene.floor else [])]
    while True:
        shape, colour = rng.randrange(len(SHAPES)), rng.randrange(len(COLOUR_NAMES))
        rgb = _rgb(rng, colour)
        if (shape, colour) not in used and all(_far(rgb, ground) for ground in grounds):
            used.add((shape, colour))
            return shape, colour, rgb


def _rotation(rng: random.Random, shape: int) -> float:
    return rng.uniform(-0.25, 0.25) if rng.random() < 0.3 else 0.0


def picture(rng: random.Random, count: int | None = None, size: tuple[int, int] | None = None) -> Scene:
    """A picture of `size` (width, height) with `count` things (0 to 6, none alike), none touching another."""
    scene = _blank(rng, size)
    if count is None:
        count = rng.choices(range(7), (2, 22, 26, 22, 14, 8, 6))[0]
    if rng.random() < 0.1:
        scene.floor = _floor(rng)
    width, height = scene.width, scene.height
    side = min(width, height)
    used: set[tuple[int, int]] = set()
    on_grid = rng.random() < 0.6
    cells = rng.sample([(row, column) for row in range(3) for column in range(3)], 6)
    alike = rng.random() < 0.35 and count > 1  # several of one shape, so that counting them is no guess
    common = rng.randrange(len(SHAPES))
    for index in range(count):
        shape, colour, rgb = _look(rng, scene, used)
        if alike and rng.random() < 0.7 and (common, colour) not in used:
            used.add((common, colour))
            shape = common
        largest = 0.145 if on_grid or count > 3 else (0.42 if count == 1 else 0.22)
        for _ in range(60):
            r = side * rng.uniform(0.085 if count > 1 else 0.1, largest)
            if on_grid:
                row, column = cells[index]
                x = width * ((2 * column + 1) / 6 + rng.uniform(-0.06, 0.06))
                y = height * ((2 * row + 1) / 6 + rng.uniform(-0.06, 0.06))
            else:
                x, y = rng.uniform(r, width - r), rng.uniform(r, height - r)
            x, y = min(max(x, r), width - r), min(max(y, r), height - r)
            if all(math.hypot(x - t.x, y - t.y) > 1.05 * (r + t.r) + 2 for t in scene.things):
                scene.things.append(Thing(shape, colour, rgb, x, y, r, _rotation(rng, shape)))
                break
    scene.target = image_target(height, width)
    return scene


def recoloured(rng: random.Random, scene: Scene) -> tuple[Scene, int]:
    """The same picture with one thing in another colour, and which thing."""
    index = rng.randrange(len(scene.things))
    things = [Thing(**vars(thing)) for thing in scene.things]
    used = {(thing.shape, thing.colour) for thing in things}
    for _ in range(100):
        colour = rng.randrange(len(COLOUR_NAMES))
        rgb = _rgb(rng, colour)
        if (things[index].shape, colour) not in used and all(_far(rgb, ground) for ground in scene.ground):
            break
    else:
        return recoloured(rng, scene)
    things[index].colour, things[index].rgb = colour, rgb
    return Scene(**{**vars(scene), "things": things}), index


def video(rng: random.Random, seconds: float, count: int | None = None, movers: int | None = None) -> Scene:
    """A video of 1 to 3 things, each in its own lane, `movers` of them moving along it."""
    scene = _blank(rng, random_size(rng, largest=1000))
    scene.seconds = seconds
    width, height = scene.width, scene.height
    if max(width, height) > 2 * min(width, height):
        width = height = scene.width = scene.height = max(NARROWEST, round(math.sqrt(width * height)))
    if rng.random() < 0.2:
        scene.floor = _floor(rng)
    if min(width, height) < NARROWEST:
        enlarged = NARROWEST / min(width, height)
        width, height = scene.width, scene.height = math.ceil(enlarged * width), math.ceil(enlarged * height)
    count = count or rng.choices((1, 2, 3), (4, 4, 2))[0]
    movers = rng.choices((0, 1, 2), (1, 6, 2))[0] if movers is None else movers
    movers = min(movers, count)
    horizontal = rng.random() < 0.5
    length, breadth = (width, height) if horizontal else (height, width)
    lanes = rng.sample(range(count), count)
    used: set[tuple[int, int]] = set()
    for index in range(count):
        shape, colour, rgb = _look(rng, scene, used)
        r = min(width, height) * rng.uniform(0.09, 0.3 if count == 1 else 0.42 / count)
        r = min(r, 0.45 * breadth / count)
        middle = (lanes[index] + 0.5) / count * breadth
        across = middle + rng.uniform(-1, 1) * max(0.0, 0.5 * breadth / count - r)
        thing = Thing(shape, colour, rgb, 0.0, 0.0, r, _rotation(rng, shape))
        if index < movers:
            way = max(0.35 * length, (length - 2 * r) * rng.uniform(0.5, 1.0))
            start = rng.uniform(r, max(r, length - r - way))
            ends = (start, min(start + way, length - 0.5 * r))
            forward = rng.random() < 0.5
            ends = ends if forward else (ends[1], ends[0])
            thing.direction = ("right" if forward else "left") if horizontal else ("down" if forward else "up")
            points = [(along, across) if horizontal else (across, along) for along in ends]
            (thing.x, thing.y), thing.end = points[0], points[1]
        else:
            along = rng.uniform(r, length - r)
            thing.x, thing.y = (along, across) if horizontal else (across, along)
        scene.things.append(thing)
    rng.shuffle(scene.things)
    scene.window = (rng.uniform(0, 0.25), rng.uniform(0.75, 1)) if rng.random() < 0.5 else (0.0, 1.0)
    scene.target = video_target(scene.height, scene.width)
    assert set(DIRECTIONS) >= {t.direction for t in scene.things if t.direction}
    return scene


def place(scene: Scene, thing: Thing) -> str | None:
    """One of the nine places, None where it could be taken for another."""
    indices = []
    for share in (thing.y / scene.height, thing.x / scene.width):
        if min(abs(share - 0.36), abs(share - 0.64)) < 0.05:
            return None
        indices.append(int(share > 0.36) + int(share > 0.64))
    return PLACES[indices[0]][indices[1]]
