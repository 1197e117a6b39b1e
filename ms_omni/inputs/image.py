"""Reads images as qwen-omni-utils 0.0.9 `fetch_image` does: RGB on white, sides a multiple of twice the patch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ms_omni.errors import OmniError
from ms_omni.inputs.access import IMAGE_FORMATS, UNRESTRICTED, MediaAccess
from ms_omni.inputs.source import Source, open_source

# qwen-omni-utils 0.0.9: one token covers 2 x 2 patches.
SPATIAL_MERGE_SIZE = 2
MIN_TOKENS = 4
MAX_TOKENS = 16384
MAX_RATIO = 200
# For JPEGs of restricted accesses: progressive ones have about ten scans, and a preview adds a few.
MAX_SCANS = 64


def fetch_image(part: Mapping[str, Any], image_patch_size: int = 14, access: MediaAccess = UNRESTRICTED) -> Image.Image:
    """The image of a conversation part, RGB, resized (bicubic) so that its sides are multiples of
    2 * image_patch_size and its area lies between min_pixels and max_pixels.

    The medium may be a path, file://, http(s)://, data: URI, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4)
    of uint8. Raises OmniError naming it when it cannot be read, is truncated, or is more than 200 times as long as
    wide."""
    value = part["image"] if "image" in part else part["image_url"]
    source, image = read_image(value, access)
    factor = image_patch_size * SPATIAL_MERGE_SIZE
    try:
        if "resized_height" in part and "resized_width" in part:
            height, width = smart_resize(part["resized_height"], part["resized_width"], factor)
        else:
            limits = (part.get("min_pixels"), part.get("max_pixels"))
            height, width = smart_resize(image.height, image.width, factor, *limits)
    except OmniError as error:
        raise source.fail(str(error)) from error
    source.check("max_image_pixels", width * height, "pixels are asked for")
    return image.resize((width, height))


def read_image(value: Any, access: MediaAccess = UNRESTRICTED) -> tuple[Source, Image.Image]:
    """(the source, the decoded RGB image in its original size)."""
    if isinstance(value, Image.Image):
        source, image = Source("image object", access=access), value
    elif isinstance(value, np.ndarray):
        source, image = Source("image array", access=access), _from_array(value)
    else:
        source = open_source(value, "image", access)
        image = _open(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # palette transparency: the conversion is the same
        try:
            return source, _to_rgb(image)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error...
            raise source.fail(f"truncated or corrupt image ({error})") from error


def smart_resize(
    height: float, width: float, factor: int, min_pixels: float | None = None, max_pixels: float | None = None
) -> tuple[int, int]:
    """(height, width) nearest to the given with both sides multiples of `factor`, the area within
    [min_pixels, max_pixels] and the proportions kept; the arithmetic of qwen-omni-utils 0.0.9 `smart_resize`.

    Raises OmniError for min_pixels above max_pixels and for a side more than 200 times the other."""
    max_pixels = MAX_TOKENS * factor**2 if max_pixels is None else max_pixels
    min_pixels = MIN_TOKENS * factor**2 if min_pixels is None else min_pixels
    if max_pixels < min_pixels:
        raise OmniError(f"max_pixels {max_pixels:g} is below min_pixels {min_pixels:g} (defaults count too)")
    if max(height, width) / min(height, width) > MAX_RATIO:
        raise OmniError(f"{width} x {height} pixels: one side may be at most {MAX_RATIO} times the other")
    new_height = max(factor, round(height / factor) * factor)
    new_width = max(factor, round(width / factor) * factor)
    if new_height * new_width > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        new_height = math.floor(height / shrink / factor) * factor
        new_width = math.floor(width / shrink / factor) * factor
    elif new_height * new_width < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    if not new_height or not new_width:
        raise OmniError(
            f"{width} x {height} pixels do not fit into max_pixels {max_pixels:g} with sides of at least {factor}"
        )
    return new_height, new_width


def _open(source: Source) -> Image.Image:
    """Reads the header only; `_to_rgb` decodes, and so finds truncated data."""
    restricted = source.access.restricted
    if restricted:
        _check_scans(source)
    try:
        image = Image.open(source.open(), formats=IMAGE_FORMATS if restricted else None)
    except Image.UnidentifiedImageError as error:
        kinds = f"one of {', '.join(IMAGE_FORMATS)}" if restricted else "an image that Pillow can read"
        raise source.fail(f"not {kinds}") from error
    except Exception as error:  # also DecompressionBombError: above 179 million pixels
        raise source.fail(str(error)) from error
    source.check("max_image_pixels", image.width * image.height, "pixels")
    return image


def _check_scans(source: Source) -> None:
    """Refuses JPEGs of many scans: each takes few bytes, but as much time to decode as the whole image."""
    scans = source.contents().count(b"\xff\xda") if source.head(2) == b"\xff\xd8" else 0
    if scans > MAX_SCANS:
        raise source.fail(f"a JPEG of {scans} scans; at most {MAX_SCANS} are allowed")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.split()[3])
        return white
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise OmniError(
            f"image array: expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), got {array.dtype} {array.shape}"
        )
    if 0 in array.shape:
        raise OmniError(f"image array: is empty, shape {array.shape}")
    return Image.fromarray(array)
