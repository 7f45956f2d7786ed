"""Data frames in, pictures, tables and sentences out. No streamlit in here."""
