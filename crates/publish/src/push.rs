//! The order in which an image arrives at a registry, so that whatever a tag names is complete at every moment.

mod plan;

pub use plan::{Document, PushImage, PushLayer, PushPlan, PushReport, TagResult, TagRule, TagStep};
