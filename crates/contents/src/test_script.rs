//! `/.singularity.d/test`: what `apptainer test` runs, and `verify image` where no command is said.

use pixi_oci_workspace::TaskArgv;

use pixi_oci_platform::quote;

use crate::activation::assignment;

/// Where it is in the image.
pub const TEST: &str = "/.singularity.d/test";

/// A script that runs these lines in the working directory; the first that fails ends it.
pub fn test_script(shell: &str, workdir: &str, lines: &[String]) -> String {
    let head = format!("#!{shell}\n# Written by pixi-oci: `test` of [tool.pixi-oci].\nset -e\ncd {}\n", quote(workdir));
    lines.iter().fold(head, |text, line| text + line.trim_end() + "\n")
}

/// A task as such lines.
pub fn task_lines(task: &TaskArgv) -> Vec<String> {
    let directory = task.cwd.iter().map(|below| format!("cd {}", quote(below)));
    let variables = task.env.iter().map(|(name, value)| assignment(name, value));
    let command: Vec<String> = task.argv.iter().map(|word| quote(word)).collect();
    directory.chain(variables).chain([command.join(" ")]).collect()
}
