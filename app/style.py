"""Fixed style of the frame. No data ever goes in here."""

LAYOUT = """
<style>
[data-testid="stMainBlockContainer"] { padding: 3.9rem 1.5rem 1rem 1.5rem; max-width: 2200px; }
[data-testid="stSidebar"] { min-width: 210px; max-width: 210px; }
[data-testid="stSidebarHeader"] { padding-bottom: 0.25rem; }
[data-testid="stSidebarUserContent"] { padding-top: 0.5rem; }
[data-testid="stSidebarUserContent"] [data-testid="stVerticalBlock"] { gap: 0.7rem; }
[data-testid="stMain"] [data-testid="stVerticalBlock"] { gap: 0.6rem; }
[data-testid="stHeader"] { height: 3.2rem; }
.st-key-nav { position: fixed; top: 8px; left: 240px; right: 290px; width: auto; z-index: 999991; }
.st-key-search { position: fixed; top: 6px; right: 60px; width: 220px; z-index: 999992; }
.st-key-search [data-baseweb="input"] { height: 34px; min-height: 34px; }
.st-key-search [data-testid="InputInstructions"] { display: none; }
</style>
"""

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="132" height="26" viewBox="0 0 132 26">
<g fill="none" stroke="#8A9099" stroke-width="1" opacity=".8"><path d="M6 18 17 8M6 18 21 17M11 6 17 8"/></g>
<circle cx="6" cy="18" r="3.1" fill="#009E73"/><circle cx="11" cy="6" r="2.3" fill="#009E73"/>
<circle cx="17" cy="8" r="3.1" fill="#CC3399"/><circle cx="21" cy="17" r="2.3" fill="#CC3399"/>
<text x="32" y="18.5" font-family="system-ui, Segoe UI, Roboto, sans-serif" font-size="16" font-weight="650"
 fill="#7F868E" letter-spacing=".2">QK Atlas</text></svg>"""
