"""What a job can be asked to do: one frozen dataclass of plain values each, with its command, words and checks."""
