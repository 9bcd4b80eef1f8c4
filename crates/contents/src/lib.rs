//! What an image has beside packages: the activation of the environment, which needs no shell where that is possible, and the
//! files of the project, without its secrets.
//!
//! ```text
//! workspace, variables of packages and base ─▶ activate ─▶ image Env, Apptainer's script, entrypoint ─▶ environment_tree
//! chosen files of the workspace ─▶ application ─▶ with_file_list
//! ```

mod activation;
mod application;
mod environment;
mod file_list;
mod secrets;
mod test_script;

pub use activation::{
    ActivatedEnv, ActivationError, ActivationInput, activate, activate_script, apptainer_script, entrypoint_script,
    without_missing_scripts, workspace_env,
};
pub use application::{Application, ApplicationError, ApplicationInput, Below, application};
pub use environment::{ENTRYPOINT, EnvironmentError, EnvironmentInput, environment_tree, table_tree};
pub use file_list::with_file_list;
pub use secrets::{secret_content, secret_name};
pub use test_script::{TEST, task_lines, test_script};
