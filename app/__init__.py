"""The page of QK Atlas. It imports `analysis`, never the other way round."""
