"""Compiled loops of the maps: each takes and changes plain arrays, holds no lock and draws no random number."""
