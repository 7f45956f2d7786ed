"""Fixed style of the frame. No data ever goes in here."""

from __future__ import annotations

from pathlib import Path

PAGE_ICON = str(Path(__file__).with_name("icon.png"))

LEFT_COLUMN_PX = 210
"""Width of the left column, as `LAYOUT` has it: known to the page from the start, so that nothing moves."""

AT_FIRST = """
<style>
/* Before the page says so: it is wide, and the left column takes its room where it was not folded. Once there is a view
   without a left column, none comes: without runs nothing is chosen there. */
html {
  [data-testid="stMainBlockContainer"] { max-width: 2200px; }
  @media (min-width: 1000px) {
    &:not([data-qk-column-folded], [data-qk-alone])
    [data-testid="stApp"]:not([data-test-script-state="notRunning"], :has([data-testid="stSidebar"], .st-key-view)) {
      [data-testid="stAppViewContainer"] { padding-left: 210px; }
      .st-key-top { left: 228px; }
    }
  }
}
</style>
"""
"""What only the very first moments need. No data goes in here."""

LAYOUT = """
<style>
html {
[data-testid="stMainBlockContainer"] { padding: 4.1rem 1.5rem 1rem 1.5rem; max-width: 2200px; }
&[data-qk-alone] [data-testid="stMainBlockContainer"] { padding: 0.5rem 0.75rem; }
[data-testid="stSidebar"] { transition: none; }
[data-testid="stSidebar"][data-collapsed="false"] { min-width: 210px; max-width: 210px; }
[data-testid="stSidebarHeader"] { padding-bottom: 0.25rem; }
[data-testid="stSidebarUserContent"] { padding-top: 0.5rem; }
[data-testid="stSidebarUserContent"] [data-testid="stVerticalBlock"] { gap: 0.7rem; }
[data-testid="stMain"] [data-testid="stVerticalBlock"] { gap: 0.6rem; }
[data-testid="stHeader"] { height: 3.2rem; background: light-dark(#FFFFFF, #101316); }

/* The top row: pages, tour, copy and search share the width that the left column leaves. */
.st-key-top { position: fixed; top: 6px; left: 88px; right: 52px; width: auto; z-index: 999991;
  flex-wrap: nowrap; align-items: center; gap: 10px; }
[data-testid="stApp"]:has([data-testid="stSidebar"][data-collapsed="false"]) .st-key-top { left: 228px; }
.st-key-top > :first-child { flex: 1 1 auto; min-width: 0; width: auto; }
.st-key-top > :last-child { flex: 0 1 220px; min-width: 110px; width: auto; }
.st-key-search [data-baseweb="input"] { height: 34px; min-height: 34px; }
.st-key-search [data-testid="InputInstructions"] { display: none; }

/* Fixed parts leave no gap in the flow; the welcome takes room only while the browser wants it. */
:has(> .st-key-top), :has(> .st-key-tour), :has(> .st-key-asked) { height: 0; margin-bottom: -0.6rem; }
.st-key-tour { position: fixed; top: 0; left: 0; width: 0; height: 0; z-index: 1000000; }
&:not([data-qk-welcome]) :has(> .st-key-welcome) { display: none; }

.st-key-view { min-height: 70vh; }
.st-key-view:focus { outline: none; }
.st-key-view:focus-visible { outline: 2px solid currentColor; outline-offset: 4px; }

.qk-sentence { margin: 0; font-size: 1rem; line-height: 1.5; }
.qk-quiet { font-size: 0.875rem; color: color-mix(in srgb, currentColor 66%, transparent); }
.qk-term { text-decoration: underline dotted 1px; text-underline-offset: 3px; cursor: help; }
.qk-term:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; border-radius: 2px; }
[data-testid="stCaptionContainer"] { opacity: 1; color: color-mix(in srgb, currentColor 66%, transparent); }

/* Streamlit writes white on the main colour, which is bright in the dark theme. */
[data-testid="stBaseButton-primary"]:not(:disabled), [data-testid="stMultiSelect"] [data-tag] {
  &, & * { color: light-dark(#FFFFFF, #101316); }
}
/* What opens lies outside the page and tells its theme by the colour of its words alone: this is the opposite. */
[data-testid="stPopoverBody"] [data-testid="stBaseButton-primary"]:not(:disabled) {
  color: oklch(from currentColor calc((0.6 - l) * 100) 0 0);
  & * { color: inherit; }
}

/* A button that shows its icon alone has its name for those who hear it. */
[class*="st-key-icon_only"] [data-testid="stPopoverButton"] [data-testid="stMarkdownContainer"] {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}

/* Words in charts: Streamlit's grey, and the colours of marks, are too pale for words on a white ground. */
[data-testid="stVegaLiteChart"] svg.marks {
  :is([class*="role-axis-"], [class*="role-legend-"], .role-title-text) text {
    fill: color-mix(in srgb, currentColor 70%, transparent); }
  .mark-text text[fill="#8A9099"] { fill: color-mix(in srgb, currentColor 66%, transparent); }
  .mark-text text[fill="#009E73"] { fill: color-mix(in srgb, #009E73 70%, currentColor); }
  .mark-text text[fill="#CC3399"] { fill: color-mix(in srgb, #CC3399 70%, currentColor); }
  .mark-text text[fill="#D55E00"] { fill: color-mix(in srgb, #D55E00 70%, currentColor); }
}

/* Where the left column would take the picture's room it lies over the page. */
@media (max-width: 999px) {
  &:not([data-qk-folded]) [data-testid="stSidebar"] { visibility: hidden; }
  [data-testid="stSidebar"][data-collapsed="false"] { position: fixed !important;
    height: 100vh !important; z-index: 999995; box-shadow: 0 0 24px rgb(0 0 0 / .25); }
  .st-key-top, [data-testid="stApp"]:has([data-testid="stSidebar"]) .st-key-top { left: 88px; gap: 6px; }
  [data-testid="stMainBlockContainer"] { padding-left: 1rem; padding-right: 1rem; }
  .st-key-run_steps [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) { flex-wrap: wrap; }
  .st-key-run_steps > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] { min-width: 320px; }
}
}
</style>
"""
"""One level down, so that it wins over the style of Streamlit's own parts, whichever comes first."""

ROOM = """
<style>
/* Room for what is drawn by scripts of its own, which come later than the page: no part moves another.
   A box that is made anew has a number after its name, hence the loose match. */
html {
  [data-testid="stSidebar"] [class*="st-key-pick_"], .st-key-atlas_controls [class*="st-key-pick_"],
  [class*="st-key-input_pick"], [class*="st-key-input_layer"], [class*="st-key-input_head"],
  [class*="st-key-heads_measure"] { min-height: 60px; }
  @media (min-width: 1001px) { .st-key-atlas_picture { min-height: calc(100vh - 250px); } }
  .st-key-atlas_card { min-height: 420px; }
  .st-key-head_strip { min-height: 42px; }
  .st-key-head_two { --stage-less: 110px; }
  .st-key-head_picture, .st-key-head_picturebeside { --stage: min(calc(100vh - 270px - var(--stage-less, 0px)), 90vw);
    min-height: calc(clamp(380px, var(--stage), 1100px) + 31px); }
  .st-key-head_panel, .st-key-head_panelbeside { min-height: 440px; }
  .st-key-input_sentence { min-height: 81px; }
  .st-key-input_window { min-height: 400px; }
  @media (min-width: 1001px) { .st-key-input_picture { min-height: 340px; } }
  [class*="st-key-input_show"], [class*="st-key-input_kind"] { &:has([data-testid="stSkeleton"]) { height: 28px; } }
  .st-key-view:has(.st-key-input_row) [data-testid="stElementContainer"]:not([class*="st-key-"]) {
    &:has([data-testid="stSkeleton"]) { height: 18px; overflow: hidden; }
  }
  .st-key-input_listed { min-height: 220px; }
  [class*="st-key-input_token"] { min-height: 35px; }
  .st-key-view:has(.st-key-input_picture) .st-key-input_listed { min-height: 282px; }
  .st-key-input_waad { min-height: 112px; }
  .st-key-input_fai { min-height: 170px; }
  .st-key-heads_board { min-height: calc(clamp(330px, 100vh - 339px, 620px) + 50px); }
  .st-key-sinks_page [data-testid="stVerticalBlock"] { gap: 0.3rem; }
  .st-key-sinks_overview [data-testid="stHorizontalBlock"] { gap: 1rem; }
  .st-key-sinks_overview [data-testid="stPopoverButton"] p { position: absolute; clip-path: inset(50%); }
  .st-key-sinks_overview [data-testid="stPopoverButton"] {
    border-color: transparent; background: none; padding: 0 3px;
  }
  .st-key-sinks_overview [data-testid="stPopoverButton"] > div > div:last-child { display: none; }
  .st-key-sinks_overview [data-testid="stMarkdownContainer"] p { white-space: nowrap; }
  .st-key-sinks_overview [class*="st-key-sinks_title_"] { gap: 0.2rem; min-height: 28px; }
  [class*="st-key-sinks_title_"] > :first-child { min-width: 0; flex: 0 1 auto; }
  [class*="st-key-sinks_title_"] [data-testid="stMarkdownContainer"] p { overflow: hidden; text-overflow: ellipsis; }
  .st-key-sinks_page [data-testid="stPopover"] button, .st-key-sinks_page [data-testid="stPopoverButton"],
  .st-key-sinks_page [data-testid="stButtonGroup"] button, .st-key-sinks_page [data-testid="stPills"] button {
    min-height: 24px; padding: 0 7px; font-size: 12.5px; }
  .st-key-sinks_first, .st-key-sinks_second { min-height: 276px; }
  .st-key-sinks_grid_box, .st-key-sinks_layers, .st-key-sinks_levels, .st-key-sinks_norms { min-height: 216px; }
  .st-key-sinks_table { min-height: 212px; }
  .st-key-sinks_first:has(.st-key-sinks_places) .st-key-sinks_table { min-height: 100px; }
  .st-key-sinks_places { min-height: 113px; }
  .st-key-sinks_said { min-height: 5.2rem; }
  .st-key-sinks_evidence { min-height: 612px; }
  &[data-qk-welcome] .st-key-welcome_strip { min-height: 77px; }

  /* On narrow screens what stands beside the picture goes under it, from the start. */
  @media (max-width: 1060px) { &[data-qk-welcome] .st-key-welcome_strip { min-height: 115px; } }
  @media (max-width: 1000px) {
    :is(.st-key-atlas_row, .st-key-head_row, [class*="st-key-input_two_"]) > * > [data-testid="stHorizontalBlock"],
    :is(.st-key-atlas_row, .st-key-head_row, [class*="st-key-input_two_"]) > [data-testid="stHorizontalBlock"] {
      flex-direction: column;
      > [data-testid="stColumn"] { width: 100%; flex: none; }
    }
    .st-key-atlas_row [data-testid="stColumn"]:first-child { min-height: 60vw; }
    .st-key-atlas_picture { min-height: 60vw; }
    .st-key-atlas_controls { flex-direction: row; > div { flex: 1; } }
    .st-key-atlas_said { min-height: 42px; }
    .st-key-input_said { min-height: 36px; }
    [class*="st-key-input_two_"] [data-testid="stColumn"] {
      &:first-child { min-height: calc(max(280px, min(30px * var(--input-rows, 16), 100vh - 440px)) + 135px); }
      &:last-child { min-height: 380px; }
    }
    .st-key-input_two_image [data-testid="stColumn"] {
      &:first-child { min-height: 415px; }
      &:last-child { min-height: 477px; }
    }
    .st-key-heads_top { min-height: 330px; }
    [class*="st-key-heads_across"], [class*="st-key-heads_up"], [class*="st-key-heads_order"] { min-height: 60px; }
    .st-key-view [data-testid="stHorizontalBlock"]:has([class*="st-key-heads_filter"], .st-key-heads_to_atlas) {
      flex-wrap: wrap;
      > [data-testid="stColumn"] { flex: 1 0 auto; width: auto; min-width: 130px; &:first-child { flex: 1 0 100%; } }
    }
    .st-key-heads_top
      [data-testid="stHorizontalBlock"]:has([class*="st-key-heads_across"]):has([class*="st-key-heads_measure"]),
    [data-testid="stHorizontalBlock"]:has(.st-key-heads_trend) {
      flex-direction: column;
      > [data-testid="stColumn"] { width: 100%; flex: none; }
    }
    .st-key-heads_board { min-height: calc(clamp(330px, 100vh - 485px, 620px) + 50px); }
  }
  @media (max-width: 1120px) {
    .st-key-sinks_evidence { min-height: 0; }
    .st-key-sinks_said { min-height: 6rem; }
    .st-key-sinks_row > [data-testid="stHorizontalBlock"], .st-key-sinks_row > * > [data-testid="stHorizontalBlock"] {
      flex-direction: column;
      > [data-testid="stColumn"] { width: 100%; flex: none; &:first-child { min-height: 600px; } }
    }
  }
}
</style>
"""
"""Room kept for parts that come late. No data goes in here."""

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="132" height="26" viewBox="0 0 132 26">
<g fill="none" stroke="#8A9099" stroke-width="1" opacity=".8"><path d="M6 18 17 8M6 18 21 17M11 6 17 8"/></g>
<circle cx="6" cy="18" r="3.1" fill="#009E73"/><circle cx="11" cy="6" r="2.3" fill="#009E73"/>
<circle cx="17" cy="8" r="3.1" fill="#CC3399"/><circle cx="21" cy="17" r="2.3" fill="#CC3399"/>
<text x="32" y="18.5" font-family="system-ui, Segoe UI, Roboto, sans-serif" font-size="16" font-weight="650"
 fill="#7F868E" letter-spacing=".2">QK Atlas</text></svg>"""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" width="26" height="26" viewBox="0 0 26 26">
<g fill="none" stroke="#8A9099" stroke-width="1" opacity=".8"><path d="M6 18 17 8M6 18 21 17M11 6 17 8"/></g>
<circle cx="6" cy="18" r="3.1" fill="#009E73"/><circle cx="11" cy="6" r="2.3" fill="#009E73"/>
<circle cx="17" cy="8" r="3.1" fill="#CC3399"/><circle cx="21" cy="17" r="2.3" fill="#CC3399"/></svg>"""
