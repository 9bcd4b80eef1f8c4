//! The pipeline, and the policy between its stages.

mod activation;
mod application;
mod elf;
mod event;
mod git;
mod grouping;
mod report;
mod secrets;
