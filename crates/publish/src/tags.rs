//! Which tags an image gets: from a version, the CI's environment and the configured tags to the tags in the order in
//! which they are put. Pure: the same values give the same tags on a laptop and in CI.

mod baseline;
mod plan;
mod staging;
mod template;
mod wanted;

pub use baseline::baseline_tags;
pub use pixi_oci_project::version::{CiContext, CiEvent, Release, Version, VersionScheme, ci_context};
pub use plan::{Kept, KeptReason, PlannedTag, TagPlan, TagTarget, arch_tag, tag_plan, to_look_up};
pub use staging::{Prune, StagedTag, is_staging_tag, prune_plan};
pub use template::{TagTemplate, TemplateError, tag_text, version_tag};
pub use wanted::{TagError, TagPlanInput, TagsThere};

#[cfg(test)]
mod tests;
