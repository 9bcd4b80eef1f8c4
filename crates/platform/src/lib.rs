//! What differs between operating systems and C libraries, and what terminals and shells make of text, in one place.
//!
//! The other crates use the standard library and its Unix extensions, and no name that only Linux has
//! (`tests/platform.rs`). What another system cannot do is an error or `false` here, so that it compiles there.

mod account;
mod desktop;
mod directory;
pub mod elf;
mod emulation;
mod error;
mod file;
mod limits;
mod memory;
mod process;
mod space;
mod text;
mod times;

pub use account::Account;
pub use desktop::is_of_desktop;
pub use directory::exchange;
pub use emulation::emulates;
pub use error::{FileError, cannot};
pub use file::{Links, open, open_lock, read, read_text};
pub use limits::{MaxOf, allow_more_open_files, large_files_are_errors, maximum};
pub use memory::one_heap_a_cpu;
pub use process::{IS_LINUX, ISOLATED, Leash, find_program, kill_group};
pub use space::reserve;
pub use text::{escape, escape_but, is_harmful, quote, stripped};
pub use times::{set_link_time, touch};
