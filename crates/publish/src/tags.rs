//! Which tags an image gets: from a version, the CI's environment and the configured tags to the tags in the order in
//! which they are put. Pure: the same values give the same tags on a laptop and in CI.

mod ci;
mod plan;
mod staging;
mod template;
mod version;

pub use ci::{CiContext, CiEvent, ci_context};
pub use plan::{Kept, KeptReason, PlannedTag, TagError, TagPlan, TagPlanInput, TagTarget, arch_tag, tag_plan};
pub use staging::{Prune, StagedTag, is_staging_tag, prune_plan};
pub use template::{TagTemplate, TemplateError, tag_text};
pub use version::{Release, Version, VersionInput, find_version};

#[cfg(test)]
mod tests;
