//! Wheels as file trees: made in code, hostile, and beside real uv.

mod against_uv;
mod hostile;
mod records;
mod trees;
