//! Makes the layers of one share.

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_fetch::FetchItem;
use pixi_oci_image::{Architecture, Index};
use pixi_oci_layer::Digest;
use pixi_oci_pipeline::{Downloads, ImagePlan, OnLayer, PackageLayer, Published, Stock, Workshop, paired};
use serde::Serialize;

use super::{Room, Shard, ShardedProject, Unknown, divide::Share, divided, rooms, shareable};
use crate::{Error, build::output::Output};

/// The layers of a share, in images that hold them.
pub struct MadeShard {
    pub share: Share,
    /// An image for each architecture; `None` where the share is empty.
    pub index: Option<Index>,
    pub layers: Vec<MadeLayer>,
    /// The files of the layers, which are there as long as this is.
    pub blobs: BTreeMap<Digest, PathBuf>,
    _outputs: Vec<Output>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeLayer {
    pub key: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// `NAME VERSION BUILD` each.
    pub packages: Vec<String>,
}

/// Makes the layers of one of several shares; those that an image of `remote` has are in none. Each is given to `on_layer` as soon as
/// it is there.
pub fn make_shard(
    projects: &[ShardedProject],
    remote: Option<&Published>,
    shard: Shard,
    on_layer: OnLayer<'_>,
) -> Result<MadeShard, Error> {
    let rooms = rooms(projects, remote)?;
    let (share, index, layers) = make(&rooms, shard, on_layer)?;
    let digests = index.iter().flat_map(|index| &index.images).flat_map(|image| &image.layers);
    let digests: Vec<Digest> = digests.map(|layer| layer.descriptor.digest).collect();
    let outputs: Vec<Output> = rooms.into_iter().map(|room| room.output).collect();
    let places =
        outputs.iter().flat_map(|output| digests.iter().map(|digest| (*digest, output.staging.blob_path(digest))));
    let blobs = places.filter(|(_, path)| path.exists()).collect();
    Ok(MadeShard { share, index, layers, blobs, _outputs: outputs })
}

/// What was made for one architecture, and in which room the first of it.
type OfArchitecture<'a> = (usize, Vec<(ImagePlan<'a>, Vec<PackageLayer>)>);

fn make(
    rooms: &[Room<'_>],
    shard: Shard,
    on_layer: OnLayer<'_>,
) -> Result<(Share, Option<Index>, Vec<MadeLayer>), Error> {
    let stocks: Vec<Stock<'_>> = rooms.iter().map(Room::stock).collect::<Result<_, _>>()?;
    // Archives are read until the last layer is made.
    let archives = rooms.iter().map(|room| room.session().archives()).collect::<Result<Vec<_>, _>>()?;
    let _held: Vec<_> = archives.iter().map(|archives| archives.hold()).collect();
    let mut plans: Vec<(usize, ImagePlan<'_>)> = Vec::new();
    for (at, room) in rooms.iter().enumerate() {
        let of_room = room.plans(&stocks[at], Unknown::IsFetched)?;
        plans.extend(of_room.into_iter().map(|(plan, _)| (at, plan)));
    }
    let all: Vec<_> = plans.iter().flat_map(|(_, plan)| shareable(plan)).collect();
    let share = divided(&all, shard.of)?.swap_remove(shard.index - 1);
    // A layer of several images is made for the first.
    let mut left = share.layers.clone();
    plans.iter_mut().for_each(|(_, plan)| plan.layers.retain(|planned| left.remove(&planned.key.to_string())));
    plans.retain(|(_, plan)| !plan.layers.is_empty());
    let downloads: Vec<Downloads> = rooms.iter().map(|room| Downloads::new(&room.together)).collect();
    for (at, plan) in &plans {
        downloads[*at].want(absent(plan, &stocks[*at]));
    }
    let outputs = rooms.iter().map(|room| room.output.absolute()).collect::<Result<Vec<_>, _>>()?;
    let workshop = |at: usize| Workshop {
        project: rooms[at].project,
        session: rooms[at].session(),
        stock: &stocks[at],
        output: &outputs[at],
        layout: &rooms[at].output.staging,
        scratch: rooms[at].output.scratch(),
        on_layer,
    };
    let mut made_layers = Vec::new();
    let mut images: BTreeMap<Architecture, OfArchitecture<'_>> = BTreeMap::new();
    for (at, plan) in plans {
        let architecture = plan.target.architecture;
        let made = workshop(at).planned_layers(plan, &downloads[at]);
        let (plan, layers) = made.map_err(|error| rooms[at].together.failure().unwrap_or(error))?;
        for (planned, made) in paired(&plan.layers, &layers) {
            let (key, packages) = (planned.key.to_string(), planned.labels());
            let (digest, size) = (made.layer.digest, made.layer.size);
            made_layers.push(MadeLayer { key, digest, size, packages });
        }
        images.entry(architecture).or_insert_with(|| (at, Vec::new())).1.push((plan, layers));
    }
    let image = |(architecture, (at, made))| workshop(at).layers_image(architecture, made);
    let images = images.into_iter().map(image).collect::<Result<Vec<_>, _>>()?;
    let index = if images.is_empty() { None } else { Some(Index::new(images, &BTreeMap::new())?) };
    stocks.iter().for_each(Stock::trim);
    Ok((share, index, made_layers))
}

/// The archives of layers that are not on this machine.
fn absent(plan: &ImagePlan<'_>, stock: &Stock<'_>) -> Vec<FetchItem> {
    let is_here = |key| stock.layers.as_ref().is_some_and(|cache| cache.find(key).is_some());
    let layers = plan.layers.iter().filter(|planned| !is_here(&planned.key));
    let packages = layers.flat_map(|planned| &planned.packages).filter(|package| package.file().is_err());
    packages.filter_map(|package| FetchItem::for_package(package.locked?)).collect()
}
