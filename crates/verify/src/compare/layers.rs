//! Layers, by their diff ids; and in tars that differ, the first entry that does.

use std::{io, path::Path};

use oci_read::{
    document::Descriptor,
    tar::{Entry, Kind, Reader},
    unpack::Unpacked,
};
use serde::Serialize;

use super::Sameness;
use crate::{ImageReport, LayerReport, peek, report::printable};

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerComparison {
    /// What the image's history says that it holds: packages, `environment`, `application`, or what made a base's layer.
    pub content: String,
    /// The worst that can be said.
    pub sameness: Sameness,
    /// In the image; absent if only the other has it.
    pub image: Option<LayerReport>,
    /// Made again; absent if only the image has it.
    pub again: Option<LayerReport>,
    /// The first entry that differs, and in what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<String>,
}

/// A layer with its descriptor and history.
struct ComparedLayer<'a> {
    report: &'a LayerReport,
    descriptor: Descriptor,
    content: String,
}

/// All layers of both images. Those of one diff id belong together; of the others those of one content, then those of one place.
pub fn compare(original: (&Path, &ImageReport), again: (&Path, &ImageReport)) -> io::Result<Vec<LayerComparison>> {
    let ours = layers(original)?;
    let mut theirs: Vec<Option<ComparedLayer<'_>>> = layers(again)?.into_iter().map(Some).collect();
    let mut counterparts: Vec<Option<ComparedLayer<'_>>> = ours.iter().map(|_| None).collect();
    for rule in [
        |a: &ComparedLayer<'_>, b: &ComparedLayer<'_>| a.report.diff_id == b.report.diff_id,
        |a: &ComparedLayer<'_>, b: &ComparedLayer<'_>| a.content == b.content,
    ] {
        for (layer, counterpart) in ours.iter().zip(&mut counterparts).filter(|(_, found)| found.is_none()) {
            let fits = |other: &&mut Option<ComparedLayer<'_>>| other.as_ref().is_some_and(|other| rule(layer, other));
            *counterpart = theirs.iter_mut().find(fits).and_then(Option::take);
        }
    }
    let mut found = Vec::new();
    for (layer, counterpart) in ours.iter().zip(counterparts) {
        found.push(pair((original.0, layer), counterpart.as_ref().map(|other| (again.0, other)))?);
    }
    let only_again = theirs.into_iter().flatten().map(|layer| LayerComparison {
        content: layer.content,
        sameness: Sameness::Different,
        image: None,
        again: Some(layer.report.clone()),
        first_difference: None,
    });
    found.extend(only_again);
    Ok(found)
}

fn layers<'a>((dir, image): (&Path, &'a ImageReport)) -> io::Result<Vec<ComparedLayer<'a>>> {
    let manifest = peek::manifest(dir, &image.manifest)?;
    let config = peek::config(dir, &image.config)?;
    let said = config.layer_history().map(|entry| entry.created_by.clone().unwrap_or_default());
    let contents = said.map(|text| text.strip_prefix("pixi-oci: ").map(str::to_owned).unwrap_or(text));
    let contents = contents.chain(std::iter::repeat(String::new()));
    let layers = image.layers.iter().zip(manifest.layers).zip(contents);
    Ok(layers
        .map(|((report, descriptor), content)| ComparedLayer {
            report,
            descriptor,
            content: printable(content.as_bytes()),
        })
        .collect())
}

fn pair(layer: (&Path, &ComparedLayer<'_>), other: Option<(&Path, &ComparedLayer<'_>)>) -> io::Result<LayerComparison> {
    let sameness = match other {
        Some((_, other)) if other.report.digest == layer.1.report.digest => Sameness::Identical,
        Some((_, other)) if other.report.diff_id == layer.1.report.diff_id => Sameness::Content,
        _ => Sameness::Different,
    };
    let first_difference = match other {
        Some(other) if sameness == Sameness::Different => Some(first_difference(layer, other)?),
        _ => None,
    };
    Ok(LayerComparison {
        content: layer.1.content.clone(),
        sameness,
        image: Some(layer.1.report.clone()),
        again: other.map(|(_, other)| other.report.clone()),
        first_difference,
    })
}

fn first_difference(left: (&Path, &ComparedLayer<'_>), right: (&Path, &ComparedLayer<'_>)) -> io::Result<String> {
    let (mut left, mut right) = (open(left)?, open(right)?);
    loop {
        let (ours, theirs) = match (left.next_entry()?, right.next_entry()?) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (Some(entry), None) => return Ok(format!("{} is in the image only", path(&entry))),
            (None, Some(entry)) => return Ok(format!("{} is not in the image", path(&entry))),
            (None, None) => return Ok("what follows the entries".into()),
        };
        if ours.path != theirs.path {
            return Ok(format!("the image has {} where there is {} when it is made again", path(&ours), path(&theirs)));
        }
        if let Some(what) = difference(&ours, &theirs) {
            return Ok(format!("{}: {what}", path(&ours)));
        }
        if left.hash_content()? != right.hash_content()? {
            return Ok(format!("{}: other content", path(&ours)));
        }
        if left.header != right.header {
            return Ok(format!("{}: another time or owner", path(&ours)));
        }
    }
}

fn difference(ours: &Entry, theirs: &Entry) -> Option<String> {
    if ours.kind != theirs.kind {
        return Some(format!("{} in the image, {} when it is made again", kind(ours), kind(theirs)));
    }
    (ours.mode != theirs.mode).then(|| format!("mode {:04o} and not {:04o}", ours.mode, theirs.mode))
}

fn kind(entry: &Entry) -> String {
    match &entry.kind {
        Kind::Directory => "a directory".into(),
        Kind::File => "a file".into(),
        Kind::Symlink(target) => format!("a link to {}", printable(target)),
        Kind::HardLink(target) => format!("a hard link to /{}", printable(target)),
        Kind::Special(what) => (*what).into(),
    }
}

fn path(entry: &Entry) -> String {
    format!("/{}", printable(&entry.path))
}

fn open((dir, layer): (&Path, &ComparedLayer<'_>)) -> io::Result<Reader<Unpacked<'static>>> {
    peek::layer(dir, &layer.descriptor).map(Reader::new)
}
