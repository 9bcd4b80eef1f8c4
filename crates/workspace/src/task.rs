//! Tasks, as far as one of them can be an image's command.

mod argv;

pub use argv::split_plain;

use crate::toml::{Element, Section};

/// A task as the manifest has it. Nothing is refused here: most tasks never concern an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskManifest {
    command: Command,
    depends_on_others: bool,
    has_arguments: bool,
    env: Vec<(String, String)>,
    cwd: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    Line(String),
    List(Vec<String>),
    /// An alias of other tasks, or something pixi will understand one day.
    None,
}

/// A task that needs no shell, ready to be an image's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskArgv {
    pub argv: Vec<String>,
    /// The task's own variables, in the manifest's order. Values are as written: `$NAME` is not expanded.
    pub env: Vec<(String, String)>,
    /// The task's working directory, relative to the workspace, as written.
    pub cwd: Option<String>,
}

impl TaskManifest {
    pub(crate) fn read(tasks: &Section<'_>, name: &str) -> Self {
        let mut task =
            Self { command: Command::None, depends_on_others: false, has_arguments: false, env: Vec::new(), cwd: None };
        let table = match tasks.entry(name) {
            Ok(Some(Element::Table(table))) => table,
            Ok(Some(Element::Value(leaf))) => {
                match leaf.value().as_str() {
                    Some(line) => task.command = Command::Line(line.to_owned()),
                    None => task.depends_on_others = leaf.value().is_array(),
                }
                return task;
            }
            Ok(None) | Err(_) => return task,
        };
        if let Ok(Some(list)) = table.strings("cmd") {
            task.command = Command::List(list);
        } else if let Ok(Some(line)) = table.string("cmd") {
            task.command = Command::Line(line);
        }
        let not_empty = |key: &str| match table.raw(key) {
            None => false,
            Some(item) => item.as_array().is_none_or(|array| !array.is_empty()),
        };
        task.depends_on_others = not_empty("depends-on") || not_empty("depends_on");
        task.has_arguments = not_empty("args");
        task.env = table.string_map("env").ok().flatten().unwrap_or_default();
        task.cwd = table.string("cwd").ok().flatten();
        task
    }

    /// The task as a plain command, or why it cannot be one (a phrase that follows "task `x`").
    pub(crate) fn to_argv(&self) -> Result<TaskArgv, String> {
        if self.depends_on_others {
            return Err("depends on other tasks, and an image has one command".to_owned());
        }
        if self.has_arguments {
            return Err("takes arguments of its own".to_owned());
        }
        let argv = match &self.command {
            Command::Line(line) => argv::split_plain(line)?,
            Command::List(list) => {
                argv::check_list(list)?;
                list.clone()
            }
            Command::None => return Err("has no command".to_owned()),
        };
        Ok(TaskArgv { argv, env: self.env.clone(), cwd: self.cwd.clone() })
    }
}
