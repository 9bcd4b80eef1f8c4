//! Layers that are begun before it is known which layers there are.
//!
//! Which packages share a layer follows from their names and sizes, and what is in it from their archives, their places and what
//! other packages change about these. That takes the paths of all packages, and next to no package meets another's: so a layer
//! is made as if its packages met none, as soon as these are here and meet none that is known. Its key says what it is. If the
//! layer of the image turns out to have another one, nothing is wrong: it is made, too, and the guess was for nothing.

use std::{
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use pixi_oci_fetch::FetchItem;
use pixi_oci_package::Python;

use crate::{
    Error,
    fetch::Downloads,
    image::base::Base,
    layers::grouping::{LayerGroup, SizedPackage, group, package_layers},
    layers::making::{Batch, Making},
    layers::plan::{PlannedLayer, divide},
    package::Package,
    package::place::{place_alone, read_arrived},
    workshop::Workshop,
};
use pixi_oci_project::Target;

/// Which packages share a layer.
struct Guess {
    python: Option<Python>,
    layers: usize,
    sized: Vec<SizedPackage>,
    /// For each of `sized`, where it is among all packages.
    places: Vec<usize>,
    /// Those that were not begun yet.
    groups: Vec<LayerGroup>,
    /// By the hash of its path: the files and links of packages whose paths are known, and whose each is.
    leaves: HashMap<u64, usize>,
    /// The packages whose leaves these are.
    noted: BTreeSet<usize>,
}

impl Workshop<'_> {
    /// Sees that the archives of unknown packages are here. Layers of some of them go to `making` meanwhile.
    pub(super) fn locate_unknown<'a>(
        &self,
        target: &'a Target,
        packages: &mut [Package<'a>],
        base: &Base,
        downloads: &Downloads,
        making: &Making<'_, 'a>,
    ) -> Result<(), Error> {
        let first: BTreeSet<usize> = (0..packages.len()).filter(|place| packages[*place].is_unknown()).collect();
        let mut unknown = wanted(packages, first.iter().copied(), downloads);
        let mut guess: Option<Guess> = None;
        // Known packages that share a layer with unknown ones, which has to be made whatever is in these.
        let mut mates = Vec::new();
        while !unknown.is_empty() {
            if guess.is_none() {
                guess = self.guess(target, packages, base, &first)?;
                let absent = |place: &usize| !packages[*place].is_unknown() && packages[*place].file().is_err();
                let members = guess.iter().flat_map(|guess| guess.groups.iter().flat_map(|group| guess.members(group)));
                mates = wanted(packages, members.filter(absent), downloads);
            }
            let all = unknown.iter().chain(&mates).map(|(_, item)| item);
            for (at, archive) in downloads.next(all)?.into_iter().rev() {
                if at < unknown.len() {
                    let (place, _) = unknown.swap_remove(at);
                    packages[place].archive = Some(archive.into());
                } else {
                    let (place, _) = mates.swap_remove(at - unknown.len());
                    packages[place].archive.iter().for_each(|known| known.arrived(archive.path.clone()));
                }
            }
            read_arrived(packages);
            for guess in guess.iter_mut() {
                let layers = guess.complete(self, target, packages);
                Batch::all(layers.iter().map(|layer| (layer, None))).into_iter().for_each(|batch| making.add(batch));
            }
        }
        Ok(())
    }

    /// The layers that have one of the `unknown` packages; `None` while the size of a package is not known.
    fn guess(
        &self,
        target: &Target,
        packages: &[Package<'_>],
        base: &Base,
        unknown: &BTreeSet<usize>,
    ) -> Result<Option<Guess>, Error> {
        let places: Vec<usize> = (0..packages.len()).filter(|place| !packages[*place].is_own()).collect();
        let sized = places.iter().map(|place| {
            let package = &packages[*place];
            Some(SizedPackage::new(package.name.clone(), package.size()?, self.project.configuration.split_above()))
        });
        let Some(sized) = sized.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let layers = package_layers(self.project.configuration.max_layers, base.layers().len())?;
        let mut groups = group(&sized, layers);
        groups.retain(|group| group.packages.iter().any(|index| unknown.contains(&places[*index])));
        let (leaves, noted) = (HashMap::new(), BTreeSet::new());
        Ok(Some(Guess { python: target.python()?, layers, sized, places, groups, leaves, noted }))
    }
}

impl Guess {
    fn members(&self, group: &LayerGroup) -> impl Iterator<Item = usize> {
        group.packages.iter().map(|index| self.places[*index])
    }

    /// Takes down the paths that have become known.
    fn note(&mut self, target: &Target, packages: &[Package<'_>]) {
        for (place, package) in packages.iter().enumerate().filter(|(_, package)| package.facts.is_some()) {
            if self.noted.insert(place)
                && let Some(alone) = place_alone(package, target, self.python.as_ref())
            {
                let leaves = alone.paths().iter().filter(|(_, is_directory)| !is_directory);
                for (path, _) in leaves {
                    // What two have is neither's.
                    self.leaves.entry(hash(path.as_str())).and_modify(|of| *of = usize::MAX).or_insert(place);
                }
            }
        }
    }

    /// A package in its place, if none that is known has a file or link there or above it.
    fn alone<'a>(&self, place: usize, target: &Target, packages: &[Package<'a>]) -> Option<Arc<Package<'a>>> {
        let alone = place_alone(&packages[place], target, self.python.as_ref())?;
        let is_of_another = |path: &str| self.leaves.get(&hash(path)).is_some_and(|of| *of != place);
        let mut known = "";
        let meets = alone.paths().iter().any(|(path, is_directory)| {
            // Neighbours are mostly in one directory.
            let parent = path.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
            let above = parent != known && path.ancestors().any(is_of_another);
            known = parent;
            above || (!is_directory && is_of_another(path.as_str()))
        });
        (!meets).then(|| Arc::new(alone))
    }

    /// The layers whose packages are here now and meet no other that is known, each once.
    fn complete<'a>(
        &mut self,
        workshop: &Workshop<'_>,
        target: &Target,
        packages: &[Package<'a>],
    ) -> Vec<PlannedLayer<'a>> {
        self.note(target, packages);
        let is_here = |group: &LayerGroup| self.members(group).all(|place| packages[place].file().is_ok());
        let (here, others) = self.groups.iter().cloned().partition::<Vec<_>, _>(is_here);
        let layers = here.iter().flat_map(|group| {
            let members = self.members(group).map(|place| self.alone(place, target, packages));
            let members: Option<Vec<Arc<Package<'a>>>> = members.collect();
            let is_other = |index: &usize| !group.packages.contains(index);
            let others: Vec<SizedPackage> =
                (0..self.sized.len()).filter(is_other).map(|index| self.sized[index].clone()).collect();
            // What cannot be placed or divided is said when all packages are here.
            let divided = members.map(|members| divide(&members, &others, self.layers, workshop.project));
            divided.and_then(Result::ok).unwrap_or_default()
        });
        let layers = layers.collect();
        self.groups = others;
        layers
    }
}

/// The archives of packages, which are on their way from now on, with the places of the packages.
fn wanted(
    packages: &[Package<'_>],
    places: impl Iterator<Item = usize>,
    downloads: &Downloads,
) -> Vec<(usize, FetchItem)> {
    let item = |place: usize| Some((place, FetchItem::for_package(packages[place].locked?)?));
    let items: Vec<(usize, FetchItem)> = places.filter_map(item).collect();
    downloads.want(items.iter().map(|(_, item)| item.clone()).collect());
    items
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
