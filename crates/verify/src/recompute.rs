//! What an image's layers really are, against what its documents say.

use crate::{
    ImageReport, PackageRecord,
    accounts::{self, Facts},
    layer::Layers,
    layout::image::Image,
    purpose::Purpose,
    report::{Findings, Rule, printable},
    tree::stack,
};

impl Image {
    /// Compares the image with what its layers really are, and says what they are.
    pub fn report(&self, layers: &Layers, steps: &mut u64, findings: &mut Findings) -> ImageReport {
        let read: Vec<_> = self.layers.iter().map(|descriptor| layers.get(&descriptor.key())).collect();
        for (layer, diff_id) in read.iter().zip(&self.config.rootfs.diff_ids) {
            if let Some(layer) = layer
                && layer.report.diff_id != *diff_id
            {
                let text = format!(
                    "the tar inside has the digest {}; image configuration {} says {}",
                    layer.report.diff_id,
                    self.config_digest,
                    printable(diff_id.as_bytes())
                );
                findings.error(Rule::DiffId, &layer.report.digest, text);
            }
        }
        stack(&self.digest, &read, self.base_layers, steps, findings);
        ImageReport {
            manifest: self.digest.clone(),
            config: self.config_digest.clone(),
            platform: printable(self.config.platform().to_string().as_bytes()),
            base_layers: self.base_layers,
            layers: read.into_iter().flatten().map(|layer| layer.report.clone()).collect(),
            accounted: false,
            packages: Vec::new(),
        }
    }

    /// Accounts for everything above the base, and gives the packages; `None` if the image is not of ours.
    pub fn account(&self, layers: &Layers, findings: &mut Findings) -> Option<Vec<PackageRecord>> {
        let purposes: Vec<Purpose> =
            self.config.layer_history().map(|step| Purpose::of(step.created_by.as_deref().unwrap_or(""))).collect();
        if !self.is_ours() {
            return None;
        }
        let settings = &self.config.config;
        let variables = &settings.env;
        let value = |name: &str| {
            variables.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let facts = Facts {
            prefix: value("CONDA_PREFIX").trim_matches('/'),
            workdir: settings.working_dir.trim_matches('/'),
            environment: value("PIXI_ENVIRONMENT_NAME"),
            variables,
            entrypoint: &settings.entrypoint,
            is_scratch: self.base_layers == 0,
        };
        let own = self.layers.iter().zip(purposes).skip(self.base_layers);
        let own: Option<Vec<_>> =
            own.map(|(descriptor, purpose)| Some((purpose, layers.get(&descriptor.key())?))).collect();
        Some(accounts::account(&self.digest, &facts, &own?, findings))
    }
}
