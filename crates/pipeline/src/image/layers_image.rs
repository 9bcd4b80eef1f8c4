//! The image in which layers are kept for others: it has some package layers and the table of them, and runs nothing.
//!
//! It is read as every published image is whose layers are taken, so that it needs no reader of its own.

use std::sync::Arc;

use pixi_oci_contents::table_tree;
use pixi_oci_image::{Architecture, AssembleInput, Image, ImageSettings, Platform, assemble};

use crate::{
    Error,
    contents::layer_table,
    image::describe::{other_layer, package_layer, paired},
    layers::{PackageLayer, key::LAYER_TIME, plan::ImagePlan},
    package::{Package, hear::heard_of},
    report::LayerKind,
    workshop::Workshop,
};

impl Workshop<'_> {
    /// The image of layers of several plans, all for one architecture. In its table are the packages of which something else
    /// than a server's word is known.
    pub fn layers_image(
        &self,
        architecture: Architecture,
        made: Vec<(ImagePlan<'_>, Vec<PackageLayer>)>,
    ) -> Result<Image, Error> {
        let (mut own, mut layers, mut packages) = (Vec::new(), Vec::new(), Vec::new());
        for (plan, made) in made {
            own.extend(paired(&plan.layers, &made).map(|(planned, made)| package_layer(planned, &made.layer)));
            let is_sure =
                |package: &&Arc<Package<'_>>| package.file().is_ok() || heard_of(package, &self.stock.heard).is_none();
            packages.extend(plan.layers.iter().flat_map(|planned| &planned.packages).filter(is_sure).cloned());
            layers.extend(made);
        }
        let table = layer_table(&layers, &packages)?;
        let tree = table_tree(table.to_bytes())?;
        own.push(other_layer(&self.write_tree(LayerKind::Environment, &tree, LAYER_TIME)?, "environment"));
        let settings = ImageSettings::default();
        let (base_layers, base_history) = (Vec::new(), Vec::new());
        let platform = Platform { architecture, variant: None };
        Ok(assemble(&AssembleInput {
            platform,
            base_layers,
            base_history,
            layers: own,
            settings,
            created: LAYER_TIME,
        })?)
    }
}
