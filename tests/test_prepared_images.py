"""Images whose pixels a source has prepared already."""

import numpy as np

from geoindex.embed import embed_samples
from geoindex.images import content_hash
from geoindex.types import Samples


class Kept:
    """A source whose images are prepared already; it counts what is read again."""

    uri, reads = "kept:", 0

    def __init__(self, folder=None):
        self.folder = folder

    def scan(self):
        raise NotImplementedError

    def file_of(self, image):
        return self.folder and self.folder / image

    def prepared(self, image):
        return np.zeros((3, 16, 16), np.uint8)

    def read(self, image):
        self.reads += 1
        return self.folder / image


def test_a_prepared_image_is_read_again_only_for_the_hash_of_its_file(tmp_path, tiny_encoder):
    (tmp_path / "a.jpg").write_bytes(b"what stands in the file")
    samples = Samples.from_columns({"id": ["a"], "lat": [1.0], "lon": [2.0], "image": ["a.jpg"]})
    drawn, filed = Kept(), Kept(tmp_path)
    work = tmp_path / "work"
    assert embed_samples(drawn, samples, tiny_encoder, work / "1").content.tolist() == [""]
    hashed = embed_samples(filed, samples, tiny_encoder, work / "2").content.tolist()
    assert hashed == [content_hash(b"what stands in the file")]
    assert (drawn.reads, filed.reads) == (0, 1)
