//! Checks everything that the tags of a registry name, for scenarios: `check-registry HOST:PORT`.

#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use pixi_oci_test_registry::checker;

fn main() {
    let address = std::env::args().nth(1).expect("HOST:PORT");
    for (tag, digest) in checker::check(&address).sound().tags {
        println!("{tag} {digest}");
    }
}
