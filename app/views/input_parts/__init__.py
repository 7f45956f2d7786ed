"""The parts of the Input view: what is shown (`sources`, `one_input`), its controls, and a file for each picture."""
