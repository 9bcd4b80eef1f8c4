//! Black-box tests of `pixi-oci`, all in one binary. `tests/run` also makes what the slow ones need.

mod accounts;
mod activation;
mod against_py_rattler;
mod against_rattler;
mod alike;
mod application;
mod architecture;
mod base_directories;
mod before_downloads;
mod bombs;
mod build;
mod canaries;
mod channels;
mod channels_hostile;
mod common;
mod damaged_cache;
mod destinations;
mod errors;
mod hostile;
mod hostile_archives;
mod hostile_wheels;
mod interrupts;
mod killed;
mod layer_cache;
mod layer_cache_faults;
mod layer_keys;
mod lock;
mod locked;
mod manual;
mod matrix;
mod neutral_index;
mod packaging;
mod plan;
mod platform;
mod product;
mod progress;
mod provenance;
mod publish;
mod pypi;
mod ranges;
mod rebuild;
mod report;
mod reproducible;
mod sif;
mod sources;
mod split;
mod unpinned_packages;
mod verify_run;
mod words;

/// A file that nobody lists here is a file of tests that nobody runs.
#[test]
fn every_file_of_tests_is_listed() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
        assert!(main.contains(&format!("\nmod {module};\n")), "tests/{name} is not in tests/main.rs");
    }
}
