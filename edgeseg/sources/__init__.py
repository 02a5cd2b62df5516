"""What predict reads: files, folders, globs, lists, URLs, videos, cameras, stdin, arrays.

for frame in open_sources(["street/", "clip.mp4"]):
    if isinstance(frame, BrokenFrame):
        ...                                    # report frame.error and go on
    else:
        frame.picture                          # (H, W, 3) uint8 RGB
"""

from edgeseg.sources.frames import BrokenFrame, Frame, Limits
from edgeseg.sources.open import Sources, open_sources
from edgeseg.sources.resolve import SUPPORTED, SourceLike

__all__ = ["SUPPORTED", "BrokenFrame", "Frame", "Limits", "SourceLike", "Sources", "open_sources"]
