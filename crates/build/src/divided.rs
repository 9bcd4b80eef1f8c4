//! One platform's packages, divided into layers that need not be there yet: what a build makes and a plan only names.

use pixi_oci_layer::MemoryBudget;
use pixi_oci_lock::requirements;

use crate::{
    Error, LayerGroup,
    base::Base,
    cache::FactsCache,
    fetch::fetch_archives,
    group,
    image::ImageBuilder,
    layer_key::LayerKey,
    layers::{LayerOptions, PackageLayer, ReadyPackage, layer_key},
    package_layers,
    packages::{Contents, Ready, facts, ready_packages, sized, with_post_link},
    reuse::Reuse,
    target::Target,
    virtual_packages,
};

/// Packages whose paths and layers are decided.
pub struct Divided<'a> {
    /// All of them.
    pub packages: Vec<ReadyPackage<'a>>,
    /// Which of them share a layer, bottom first.
    pub groups: Vec<LayerGroup>,
    /// Packages with a script that conda would run after linking.
    pub post_link_scripts: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl ImageBuilder<'_> {
    /// The base image of a target, if the packages fit to it and to what the target is said to have.
    pub fn base(&self, target: &Target) -> Result<Base, Error> {
        let configuration = self.configuration;
        virtual_packages::check(&requirements(&target.packages), &target.virtual_packages)?;
        let base = Base::open(self.request, configuration, target.architecture, self.on_event)?;
        base.check_places(&[configuration.prefix.as_str(), &configuration.workdir])?;
        base.check_prefix(&configuration.prefix)?;
        base.check_glibc(&requirements(&target.packages), self.request.base_glibc)?;
        Ok(base)
    }

    /// Decides where every path goes, and which packages share a layer. Without a base image it is taken to have up to
    /// three layers, as most have.
    pub fn divide<'p>(
        &self,
        target: &Target,
        contents: &'p Contents<'p>,
        base: Option<&Base>,
    ) -> Result<Divided<'p>, Error> {
        let said = self.request.base_glibc;
        let glibc = base.map_or(said, |base| base.glibc(said));
        let glibc = glibc.or_else(|| virtual_packages::glibc(&target.virtual_packages));
        let facts = facts(target, contents, glibc, &self.facts_cache())?;
        let Ready { packages, mut warnings } = ready_packages(target, contents, &facts)?;
        let post_link_scripts = with_post_link(&packages);
        for package in &post_link_scripts {
            warnings
                .push(format!("{package} has a post-link script; it is not run, what it would do is not in the image"));
        }
        let (max, own) = (self.configuration.max_layers, base.map_or(0, |base| base.layers().len()));
        let layers = package_layers(max, own)?;
        if own > 3 {
            warnings.push(format!("the base image has {own} layers, which leaves {layers} of {max} for packages"));
        }
        let groups = group(&sized(&packages), layers);
        Ok(Divided { packages, groups, post_link_scripts, warnings })
    }

    /// What the layers are known by, in their order.
    pub fn keys(&self, divided: &Divided<'_>) -> Vec<LayerKey> {
        let (prefix, compression) = (&self.configuration.prefix, self.configuration.compression);
        divided.groups.iter().map(|group| layer_key(group, &divided.packages, prefix, compression)).collect()
    }

    /// Gets the layers or makes them, in their order. All of them are in the layout then, or where the image will be.
    pub fn package_layers(&self, target: &Target, divided: &mut Divided<'_>) -> Result<Vec<PackageLayer>, Error> {
        let reuse = Reuse {
            platform: &target.platform.name,
            locked: &target.packages,
            cache: self.layer_cache,
            remote: self.remote,
            on_layer: self.on_layer,
            fetch: &|packages| fetch_archives(self.request, self.client, packages, self.on_event),
            on_event: self.on_event,
        };
        let (memory, facts) = (MemoryBudget::new(self.request.memory), self.facts_cache());
        reuse.layers(&divided.groups, &mut divided.packages, &self.options(&memory, &facts))
    }

    /// How layers are written.
    pub fn options<'b>(&'b self, memory: &'b MemoryBudget, facts: &'b FactsCache) -> LayerOptions<'b> {
        LayerOptions {
            prefix: &self.configuration.prefix,
            compression: self.configuration.compression,
            threads: self.request.threads,
            memory,
            scratch: self.scratch,
            interrupted: &self.request.interrupted,
            layout: self.layout,
            facts,
        }
    }

    /// What is known of packages on this machine.
    pub fn facts_cache(&self) -> FactsCache {
        FactsCache::open(&self.request.cache_dir)
    }
}
