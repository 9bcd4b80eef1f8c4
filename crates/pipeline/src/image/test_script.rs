//! `test` of `[tool.pixi-oci]` in the image.

use pixi_oci_contents::{ApplicationError, TEST, task_lines, test_script};
use pixi_oci_layer::{Content, File, FileTree, Mode, Node, TreePath};
use pixi_oci_workspace::{ImageTest, Include};

use crate::{Error, contents::has_path, image::base::Base, layers::plan::ImagePlan, workshop::Workshop};

impl Workshop<'_> {
    /// The chosen files, and the one that is the test.
    pub(super) fn include(&self) -> Vec<Include> {
        let oci = &self.project.configuration.oci;
        let mut include = oci.include.clone().unwrap_or_default();
        if let Some(ImageTest::Script(file)) = &oci.test {
            let mode = Some(Mode::EXECUTABLE.bits());
            include.push(Include { source: file.clone(), destination: Some(TEST.into()), mode });
        }
        include
    }

    /// Puts a test that is not a file of the workspace among the application's.
    pub(super) fn add_test(&self, plan: &ImagePlan<'_>, base: &Base, application: &mut FileTree) -> Result<(), Error> {
        let configuration = &self.project.configuration;
        let lines = match &configuration.oci.test {
            None | Some(ImageTest::Script(_)) => return Ok(()),
            Some(ImageTest::Commands(lines)) => lines.clone(),
            Some(ImageTest::Task(name)) => {
                let platform = plan.target.platform.target();
                task_lines(&self.project.workspace.task(&configuration.environment, platform, name)?)
            }
        };
        let of_packages = || has_path(&plan.packages, "bin/bash").then(|| format!("{}/bin/bash", configuration.prefix));
        let shell = base.sh().map(str::to_owned).or_else(of_packages).ok_or(Error::NoTestShell)?;
        let content = Content::from_bytes(test_script(&shell, &configuration.workdir, &lines));
        let path = TreePath::new(TEST.trim_start_matches('/'))
            .map_err(|source| ApplicationError::Destination { destination: TEST.into(), source })?;
        let file = Node::File(File { content, mode: Mode::EXECUTABLE, mtime: None });
        application.insert(path, file).map_err(ApplicationError::Tree)?;
        Ok(())
    }
}
