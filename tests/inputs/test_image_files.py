"""Images that strangers made: known kinds by content, odd modes to RGB, bombs and strips refused before decoding."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from analysis.inputs.image_files import check_image, open_image, open_mask
from analysis.inputs.records import Unreadable
from tests.inputs.conftest import plain, png


def pixel(content, at=(0, 0)):
    image = open_image(content)
    assert image.mode == "RGB"
    return image.getpixel(at)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_lossless_kinds(kind):
    assert pixel(png(plain((255, 0, 51)), kind)) == (255, 0, 51)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds(kind):
    assert np.allclose(pixel(png(plain((200, 40, 40)), kind)), (200, 40, 40), atol=6)


def test_transparency_is_put_over_white():
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert pixel(png(half)) == (127, 127, 127)
    assert pixel(png(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([9, 9, 9, 8, 8, 8])
    assert pixel(png(palette)) == (8, 8, 8)
    assert pixel(png(palette, transparency=1)) == (255, 255, 255)


def test_sixteen_bits_grey_and_one_bit():
    ramp = np.array([[0, 32896, 65535]], dtype=np.uint16)
    image = open_image(png(ramp))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    assert pixel(png(Image.new("L", (2, 2), 77))) == (77, 77, 77)
    assert pixel(png(Image.new("1", (2, 2), 1))) == (255, 255, 255)


def test_cmyk_becomes_rgb():
    red, green, blue = pixel(png(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 240
    assert max(green, blue) < 15


def test_exif_turn_is_applied():
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by 90 degrees clockwise to show
    turned = open_image(png(image, "PNG", exif=exif))
    assert turned.size == (2, 4)
    assert turned.getpixel((1, 0)) == (255, 255, 255)


def test_first_frame_of_an_animation():
    frames = [plain((255, 0, 0)), plain((0, 255, 0))]
    assert pixel(png(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"GIF is what this file says, not what it is",
        b"\x00\x00\x01\x00" + b"\0" * 60,
        b"text",
    ],
)
def test_other_kinds_are_refused_by_content(content):
    with pytest.raises(Unreadable, match="not an image of a known kind"):
        open_image(content)


def test_ppm_and_tga_are_not_on_the_list():
    for kind in ("PPM", "ICO"):
        with pytest.raises(Unreadable, match="not an image of a known kind"):
            check_image(png(plain((1, 2, 3), 16, 16), kind))


def bomb(width, height):
    """A PNG of a few bytes that claims a huge picture."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [4473, 9_000, 12_000, 60_000])
def test_more_than_twenty_megapixels_is_refused_before_decoding(side):
    with pytest.raises(Unreadable, match=r"megapixels"):
        check_image(bomb(side, side))


def test_just_under_twenty_megapixels_passes_the_check():
    check_image(bomb(4472, 4472))


def test_a_strip_is_refused():
    with pytest.raises(Unreadable, match="strip"):
        check_image(bomb(1, 101))
    check_image(bomb(1, 100))


def test_damaged_pixels_are_a_reason_not_a_crash():
    rng = np.random.default_rng(0)
    whole = png(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        content = png(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), kind)
        with pytest.raises(Unreadable):
            open_image(content[: len(content) // 3])
    with pytest.raises(Unreadable, match="damaged"):
        open_image(whole[:200])


@pytest.mark.filterwarnings("error")
def test_random_damage_never_escapes():
    rng = np.random.default_rng(1)
    n_read = n_refused = 0
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        content = np.frombuffer(png(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8), kind), dtype=np.uint8)
        for _ in range(60):
            broken = content.copy()
            broken[rng.integers(0, len(broken), 6)] = rng.integers(0, 256, 6)
            try:
                n_read += open_image(broken.tobytes()).mode == "RGB"
            except Unreadable:
                n_refused += 1
    assert n_read + n_refused == 360
    assert n_refused > 50


def test_masks_give_numbers():
    numbers = np.array([[0, 3], [7, 255]], dtype=np.uint8)
    assert np.array_equal(open_mask(png(numbers)), numbers)
    palette = Image.fromarray(numbers).convert("P")
    palette.putdata([0, 3, 7, 1])
    assert np.array_equal(open_mask(png(palette)), [[0, 3], [7, 1]])
    assert open_mask(png(np.array([[300]], dtype=np.uint16))).tolist() == [[300]]
    with pytest.raises(Unreadable, match="this one is RGB"):
        open_mask(png(plain((1, 2, 3))))
