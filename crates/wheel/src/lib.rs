//! What one wheel puts under a prefix, as a file tree.
//!
//! [`read_wheel`] reads a wheel's metadata, [`WheelInfo::paths`] says where its files go, so that clobbers can be decided
//! together with all other packages, and [`wheel_tree`] reads its contents. The result equals what uv writes when pixi
//! has it install the wheel (`tests/wheels/against_uv.rs` compares them), without bytecode. Sources of the rules: the
//! binary distribution format (<https://packaging.python.org/en/latest/specifications/binary-distribution-format/>) and
//! `uv-install-wheel` 0.0.72. These differ, on purpose:
//!
//! * Where `RECORD` is not what the specification says (files without a line, without a hash or with a wrong one), the
//!   wheel is installed as uv installs it, and [`Corrections`](pixi_oci_package::Corrections) say so.
//! * A file of the wheel that only an installer may write (`INSTALLER`, `direct_url.json`, …) is left out: pixi judges by
//!   these where a package came from.
//! * `uv_cache.json` is not written: it would hold a time of the building machine.
//! * A script that is both a console and a gui script is one file, and has one line in `RECORD`.
//! * Modification times are the layer's constant. The zip's are local times without a zone, and uv leaves "now".
//!
//! **Invariant:** as for conda packages, a wheel is hostile until checked; see [`Zip`](pixi_oci_package::Zip).

mod direct_url;
mod entry_points;
mod hash;
mod info;
mod layout;
mod metadata;
mod pack;
mod record;
mod script;
mod tags;
mod tree;

pub use direct_url::DirectUrl;
pub use entry_points::{EntryPoints, WheelScript};
pub use info::{WheelInfo, missing_info, read_wheel, read_wheel_part};
pub use metadata::WheelExpected;
pub use pack::{NewWheelFile, pack_wheel};
pub use tags::{TagError, check_tags};
pub use tree::wheel_tree;
