"""How tests ask a server."""

from io import BytesIO

OWN = "http://127.0.0.1:8000"
JPEG = {"content-type": "image/jpeg"}


def jpeg(image):
    """Return a photo as JPEG."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def form(*images):
    """Return photos as the parts of a form."""
    return [("image", (f"{i}.jpg", image, "image/jpeg")) for i, image in enumerate(images)]
