//! What a solve depends on, and nothing else.

use rattler_conda_types::{Channel, MatchSpec, RepoDataRecord, Subdir};
use rattler_solve::{ChannelPriority, ExcludeNewer, SolveStrategy};

use pixi_oci_workspace::VirtualPackage;

/// One problem: the packages of one environment or solve group on one platform.
#[derive(Debug, Clone)]
pub struct SolveInput {
    /// What is required; several of one name must all hold.
    pub specs: Vec<MatchSpec>,
    /// What must hold of a package if it is chosen for another reason.
    pub constraints: Vec<MatchSpec>,
    /// The channels, highest priority first.
    pub channels: Vec<Channel>,
    /// The conda platform; `noarch` is always looked at, too.
    pub subdir: Subdir,
    /// All that the target has. Nothing is added to it.
    pub virtual_packages: Vec<VirtualPackage>,
    /// Whether a channel hides the packages of later ones.
    pub channel_priority: ChannelPriority,
    pub strategy: SolveStrategy,
    /// Packages of after some time do not exist.
    pub exclude_newer: Option<ExcludeNewer>,
    /// What was chosen last time: it is chosen again if it can be.
    pub locked: Vec<RepoDataRecord>,
}
