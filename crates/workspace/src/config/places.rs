//! Where pixi looks for its configuration.

use std::path::PathBuf;

/// What decides which configuration files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigPlaces {
    /// `--no-config`: none of the machine and the user.
    pub no_config: bool,
    /// `--config-file`: this one in place of those of the machine and the user.
    pub config_file: Option<PathBuf>,
    /// The machine's, `/etc/pixi/config.toml`.
    pub system: PathBuf,
    /// `XDG_CONFIG_HOME`, if it is an absolute path.
    pub xdg_config_home: Option<PathBuf>,
    pub pixi_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub workspace: Option<PathBuf>,
}

impl ConfigPlaces {
    /// The files, the least important first, and whether each must be there.
    pub fn files(&self) -> Vec<(PathBuf, bool)> {
        let mut files = Vec::new();
        if let Some(file) = &self.config_file {
            files.push((file.clone(), true));
        } else if !self.no_config {
            let in_home = |directory: &str| self.home.as_ref().map(|home| home.join(directory));
            let xdg = self.xdg_config_home.clone().or_else(|| in_home(".config")).map(|dir| dir.join("pixi"));
            let pixi = self.pixi_home.clone().or_else(|| in_home(".pixi"));
            let user = [xdg, pixi].into_iter().flatten().map(|directory| directory.join("config.toml"));
            files.extend(std::iter::once(self.system.clone()).chain(user).map(|file| (file, false)));
        }
        // The workspace's own is read in any case, as pixi does.
        files.extend(self.workspace.as_ref().map(|workspace| (workspace.join(".pixi/config.toml"), false)));
        files
    }
}
