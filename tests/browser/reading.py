"""What the tests of pages share: windows, networks, and numbers as a page writes them."""

PHONE, SCREEN = (390, 844), (1280, 900)
POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
CASES = {
    "dense": ("dense", "dlgn"),
    "convolutional": ("convolutional", "dlgn"),
    "residual": ("residual", "dlgn"),
    "no filters": ("dense", "dgn"),
}


def number(text):
    """A number as the page writes it."""
    text = text.replace("−", "-").replace(",", "").replace("+", "").replace("× ", "")
    if "·" not in text:
        return float(text)
    mantissa, power = text.split(" · 10")
    return float(mantissa) * 10.0 ** int(power.translate(POWERS))


def numbers(page, selector):
    return [number(text) for text in page.locator(selector).all_inner_texts()]
