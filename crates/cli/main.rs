//! pixi-oci
fn main() {}
