//! The package layers that no image has which was named, made by several machines that know nothing of one another.
//!
//! What is in packages that a machine does not fetch is what their servers say, which nothing vouches for. It decides which layers
//! are made, and never what is in one: a layer is what its key says, and who takes it knows which key it wants. A lie costs work.

pub mod divide;
mod make;

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use oci_read::limits;
use pixi_oci_pipeline::{
    Base, ImagePlan, LayerGroup, Package, PlannedLayer, Published, Remote, SizedPackage, Stock, Together,
    divide as divide_packages, fetch_unknown, find_archives, group, hear, locked, package_layers, recognise,
    with_wheels,
};
use pixi_oci_project::{Project, Session, Target};
use pixi_oci_sources::{Decided, decide};

use self::divide::{ShareableLayer, divide};
pub use self::{
    divide::Share,
    make::{MadeLayer, MadeShard, make_shard},
};
use crate::{Error, PlanError, build::output::Output};

/// One machine of several: `2/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub index: usize,
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match read {
            Some((index, of)) if (1..=of).contains(&index) && of <= limits::SHARES => Ok(Self { index, of }),
            _ => Err(format!("expected I/N, as in 1/4: the first of 4, of {} at most", limits::SHARES)),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// An environment, and how its packages are reached.
pub struct ShardedProject {
    pub project: Project,
    pub session: Session,
}

/// What would be made by each of so many machines, of the layers that no image of `remote` has. No package is downloaded.
pub fn shards(projects: &[ShardedProject], remote: Option<&Published>, count: usize) -> Result<Vec<Share>, Error> {
    let rooms = rooms(projects, remote)?;
    let mut layers = Vec::new();
    for room in &rooms {
        for (plan, others) in room.plans(&room.stock()?, Unknown::Stays)? {
            layers.extend(shareable(&plan));
            layers.extend(others);
        }
    }
    divided(&layers, count)
}

/// An image with more layers could not be read: half of what documents may have, as descriptors say what is in their layers.
const MAX_LAYERS: usize = limits::LAYERS / 2;

fn divided(layers: &[ShareableLayer], count: usize) -> Result<Vec<Share>, Error> {
    let shares = divide(layers, count);
    match shares.iter().map(|share| share.layers.len()).max() {
        Some(layers) if layers > MAX_LAYERS => Err(PlanError::ShareTooLarge { layers, most: MAX_LAYERS }.into()),
        _ => Ok(shares),
    }
}

/// The layers of a plan, as they are divided.
fn shareable(plan: &ImagePlan<'_>) -> Vec<ShareableLayer> {
    let layer = |planned: &PlannedLayer<'_>| ShareableLayer {
        key: planned.key.to_string(),
        archives: planned.packages.iter().map(|package| archive(package)).collect(),
    };
    plan.layers.iter().map(layer).collect()
}

fn archive(package: &Package<'_>) -> (String, u64) {
    let name = package.sha256().map_or_else(|| package.label.clone(), |sha256| sha256.to_string());
    (name, package.size().unwrap_or(0))
}

/// What is done about packages of which servers do not say what is in them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// It is taken that they meet no other.
    Stays,
    IsFetched,
}

/// The plan of an image, and the layers that have packages in them of which nothing is known.
type PlanAndOthers<'a> = (ImagePlan<'a>, Vec<ShareableLayer>);

/// Where the layers of one environment are made.
struct Room<'a> {
    project: &'a Project,
    together: Arc<Together>,
    output: Output,
    remote: Option<&'a Published>,
    sources: Decided,
}

fn rooms<'a>(projects: &'a [ShardedProject], remote: Option<&'a Published>) -> Result<Vec<Room<'a>>, Error> {
    let mut rooms = Vec::new();
    for ShardedProject { project, session } in projects {
        let output = Output::scratch_in(&session.caches.dir)?;
        let sources = decide(project, output.scratch())?;
        if let Some(pending) = sources.pending.first() {
            let (environment, name) = (&project.configuration.environment, &pending.name);
            session.warn(format!(
                "the layers of environment `{environment}` are left to its image: a wheel of {name} has to be built first"
            ));
            continue;
        }
        sources.warnings.iter().for_each(|text| session.warn(text.as_str()));
        rooms.push(Room { project, together: Arc::new(Together::new(session)), output, remote, sources });
    }
    Ok(rooms)
}

impl Room<'_> {
    fn session(&self) -> &Session {
        &self.together.session
    }

    fn stock(&self) -> Result<Stock<'_>, Error> {
        let remote = self.remote.map(|remote| remote as &dyn Remote);
        Ok(Stock { keeps_published: false, ..Stock::new(self.session(), remote, self.remote.is_some()) })
    }

    /// The layers of every image that no image has which was named. What is on this machine does not matter.
    fn plans<'a>(&'a self, stock: &Stock<'_>, unknown: Unknown) -> Result<Vec<PlanAndOthers<'a>>, Error> {
        let plan = |target| {
            let mut linked = BTreeSet::new();
            loop {
                match self.plan(target, stock, unknown, &linked) {
                    // What a server can be asked for does not tell where links lead. It matters in few environments.
                    Err(Error::Pipeline(pixi_oci_pipeline::Error::Package(
                        pixi_oci_package::Error::UnknownLinks { package },
                    ))) if linked.insert(package.clone()) => {}
                    plan => return plan,
                }
            }
        };
        self.project.targets.iter().map(plan).collect()
    }

    /// Of the packages in `linked`, by their labels, all that is heard is not enough.
    fn plan<'a>(
        &'a self,
        target: &'a Target,
        stock: &Stock<'_>,
        unknown: Unknown,
        linked: &BTreeSet<String>,
    ) -> Result<PlanAndOthers<'a>, Error> {
        let (project, session) = (self.project, self.session());
        session.check()?;
        let workdir = &project.configuration.workdir;
        let mut packages = locked(&target.packages, workdir);
        recognise(target, &mut packages, stock)?;
        find_archives(&mut packages, session)?;
        if !session.offline {
            hear(&mut packages, target, session, self.output.scratch())?;
            let no_more = packages.iter_mut().filter(|package| linked.contains(&package.label));
            no_more.filter(|package| package.file().is_err()).for_each(Package::forget);
        }
        if unknown == Unknown::IsFetched {
            fetch_unknown(packages.iter_mut(), session)?;
        }
        // Without its version it is not known where modules go.
        let is_lost = packages.iter().any(|package| package.is_unknown() && package.name == "python");
        let (unknown, known) = packages.into_iter().partition(|package| is_lost || package.is_unknown());
        let known = with_wheels(known, self.sources.wheels(target), workdir);
        let below = Base::count_layers(project, target.architecture, session)?;
        let glibc = project.configuration.oci.base_glibc;
        let mut plan = ImagePlan::above(project, target, known, below, glibc, stock)?;
        let others = self.with_unknown(&mut plan, unknown, below)?;
        if let Some(remote) = self.remote {
            let previous = remote.previous()?;
            plan.layers.retain(|planned| !previous.layers.contains_key(&planned.key.to_string()));
        }
        Ok((plan, others))
    }

    /// Leaves the layers that have no unknown package in the plan, and gives the others. `below` is as in [`ImagePlan::above`].
    fn with_unknown<'a>(
        &self,
        plan: &mut ImagePlan<'a>,
        unknown: Vec<Package<'a>>,
        below: usize,
    ) -> Result<Vec<ShareableLayer>, Error> {
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let split_above = self.project.configuration.split_above();
        let sized =
            |package: &Package<'_>| SizedPackage::new(package.name.clone(), package.size().unwrap_or(0), split_above);
        let others: Vec<SizedPackage> = unknown.iter().map(sized).collect();
        let most = package_layers(self.project.configuration.max_layers, below)?;
        plan.layers = divide_packages(&plan.packages, &others, most, self.project)?;
        let known: Vec<&Package<'_>> = plan.packages.iter().map(|package| &**package).filter(|p| !p.is_own()).collect();
        let all: Vec<&Package<'_>> = known.iter().copied().chain(&unknown).collect();
        let mut groups = group(&all.iter().map(|package| sized(package)).collect::<Vec<_>>(), most);
        groups.retain(|group| group.packages.iter().any(|index| *index >= known.len()));
        let layer = |group: &LayerGroup| {
            let archives: Vec<(String, u64)> = group.packages.iter().map(|index| archive(all[*index])).collect();
            ShareableLayer { key: archives.iter().map(|(name, _)| name.as_str()).collect(), archives }
        };
        Ok(groups.iter().map(layer).collect())
    }
}
