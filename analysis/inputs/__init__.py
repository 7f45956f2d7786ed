"""Texts, tables, images and sounds in; encoded inputs and the token table out.

`read_data` needs no model: it reads a file, a folder or a bundled name into rows and refuses what cannot be read.
`encode` turns the rows into what one model sees, with one described row for every token.
"""

from analysis.inputs.encode import encode
from analysis.inputs.read import BUNDLED_DATA, read_data
from analysis.inputs.records import ColumnInfo, ImageSource, Inputs, RawData, Skipped, SoundSource

__all__ = [
    "BUNDLED_DATA",
    "ColumnInfo",
    "ImageSource",
    "Inputs",
    "RawData",
    "Skipped",
    "SoundSource",
    "encode",
    "read_data",
]
