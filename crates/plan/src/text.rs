//! A plan as text.

use std::fmt::Write;

use crate::{
    changes::Changes,
    report::layer::{LayerState, PlannedLayerReport},
    report::{EnvironmentPlan, Plan},
    size::size,
};
use pixi_oci_pipeline::LayerKind;

/// One block for each environment: a table for each platform, and what a build would do below it.
pub fn text(plans: &[EnvironmentPlan]) -> String {
    let mut text = String::new();
    for environment in plans {
        // Writing to a String cannot fail.
        for plan in &environment.platforms {
            let _ = platform(&mut text, &environment.environment, plan);
        }
        let _ = whole(&mut text, environment);
        text.push('\n');
    }
    text
}

fn platform(text: &mut String, environment: &str, plan: &Plan) -> std::fmt::Result {
    let layers = plan.layers.len();
    let (name, bytes) = (&plan.platform, size(plan.bytes));
    let (packages, layers) = (counted(plan.packages, "package"), counted(layers, "layer"));
    writeln!(text, "{environment} {name}: {packages}, {bytes} in {layers}")?;
    if !plan.needs.is_empty() {
        let needs: Vec<_> = plan.needs.iter().map(|need| format!("{} ({})", need.text(), need.package)).collect();
        writeln!(text, "  needs {}", needs.join(", "))?;
    }
    for (number, layer) in plan.layers.iter().enumerate() {
        let likely = layer.likely.as_ref();
        let bytes = layer.size.map_or_else(|| format!("~{}", size(layer.bytes)), size);
        let key = layer.key.as_deref().or(likely.map(|likely| likely.key.as_str())).map_or("", short);
        let state = likely.map_or_else(|| state(layer.state).to_owned(), |likely| format!("{}?", state(likely.state)));
        writeln!(text, "  {:>3} {bytes:>10}  {state:<8}  {key:<12}  {}", number + 1, packages_of(layer))?;
    }
    for (number, layer) in (plan.layers.len() + 1..).zip(&plan.other_layers) {
        let what = if layer.kind == LayerKind::Environment { "environment" } else { "application" };
        writeln!(text, "  {number:>3} {:>10}  {:<8}  {:<12}  ({what})", size(layer.size), "made", "")?;
    }
    for (note, packages) in [
        ("size not in the lock file", &plan.unknown_sizes),
        ("not known what is in", &plan.unknown_packages),
        ("built from source, in no layer", &plan.sources),
    ] {
        if !packages.is_empty() {
            writeln!(text, "  {note}: {}", listed(packages))?;
        }
    }
    if let Some(since) = &plan.changes {
        changes(text, plan, since)?;
    }
    if let Some(manifest) = plan.manifest {
        writeln!(text, "  image {manifest}")?;
    }
    Ok(())
}

fn whole(text: &mut String, plan: &EnvironmentPlan) -> std::fmt::Result {
    let name = &plan.environment;
    if let Some(digest) = plan.digest {
        writeln!(text, "{name}: a build makes {digest}")?;
    }
    for reason in together(plan) {
        writeln!(text, "{name}: digest not known: {reason}")?;
    }
    let download = &plan.download;
    let more = if download.at_most_bytes > download.bytes {
        format!(", or up to {}", size(download.at_most_bytes))
    } else {
        String::new()
    };
    write!(text, "{name}: to download {}, {}{more}", counted(download.archives, "archive"), size(download.bytes))?;
    if download.layers > 0 {
        write!(text, "; and {}, {}", counted(download.layers, "layer"), size(download.layer_bytes))?;
    }
    writeln!(text)?;
    for destination in &plan.push {
        let repository = &destination.repository;
        if let Some(failure) = &destination.failure {
            writeln!(text, "{name}: to send to {repository}: not known: {failure}")?;
            continue;
        }
        if let Some(refusal) = &destination.refusal {
            writeln!(text, "{name}: {repository} would refuse it: {refusal}")?;
        }
        let bytes = format!("{}{}", if destination.exact { "" } else { "~" }, size(destination.bytes));
        let (blobs, linked, present) = (destination.blobs, destination.linked, destination.present);
        writeln!(
            text,
            "{name}: to send to {repository}: {blobs} blobs, {bytes}; {linked} linked there, {present} there; {} manifests; {}",
            destination.manifests,
            match &destination.tags {
                None => "tags not known without a version".to_owned(),
                Some(tags) if tags.is_empty() => "no tag moves".to_owned(),
                Some(tags) => format!("tags {}", tags.join(", ")),
            }
        )?;
    }
    Ok(())
}

/// What is different from an image, in the layers' numbers of the table.
fn changes(text: &mut String, plan: &Plan, changes: &Changes) -> std::fmt::Result {
    let bytes = |bytes, exact| if exact { size(bytes) } else { format!("~{}", size(bytes)) };
    let numbers = |layers: &[usize]| match layers {
        [] => "no layer".to_owned(),
        [only] => format!("layer {}", only + 1),
        several => {
            format!("layers {}", several.iter().map(|layer| (layer + 1).to_string()).collect::<Vec<_>>().join(", "))
        }
    };
    if changes.manifest.is_none() {
        return writeln!(text, "  there is no image for {} to compare with", plan.platform);
    }
    let all = bytes(changes.bytes, changes.exact);
    writeln!(text, "  changed: {}, {all} to send", counted(changes.packages.len(), "package"))?;
    for package in &changes.packages {
        let what = match (package.before.as_deref(), package.after.as_deref()) {
            (None, Some(after)) => format!("+ {} {after}", package.name),
            (Some(before), None) => format!("- {} {before}", package.name),
            (Some(before), Some(after)) if before == after => format!("! {} {after} (another archive)", package.name),
            (before, after) => {
                format!("! {} {} -> {}", package.name, before.unwrap_or_default(), after.unwrap_or_default())
            }
        };
        let cost = bytes(package.bytes, package.exact);
        writeln!(text, "    {cost:>10}  {what}  ({})", numbers(&package.layers))?;
    }
    for &index in &changes.other_package_layers {
        let Some(layer) = plan.layers.get(index) else { continue };
        let cost = bytes(layer.size.unwrap_or(layer.bytes), layer.size.is_some());
        writeln!(text, "    {cost:>10}  layer {} is another one, its packages are not", index + 1)?;
    }
    for layer in &changes.other_layers {
        let what = match layer.kind {
            LayerKind::Base => "base image",
            LayerKind::Environment => "environment",
            _ => "application",
        };
        writeln!(text, "    {:>10}  ({what})", size(layer.size))?;
    }
    Ok(())
}

/// The reasons why a digest is not known; what is so for several platforms is said once.
fn together(plan: &EnvironmentPlan) -> Vec<String> {
    let mut together: Vec<(Vec<&str>, &str)> = Vec::new();
    for unpredicted in &plan.unpredicted {
        let platform = plan.platforms.iter().map(|plan| plan.platform.as_str());
        let said = platform
            .filter_map(|name| Some((name, unpredicted.message.strip_prefix(name)?.strip_prefix(": ")?)))
            .next()
            .unwrap_or(("", &unpredicted.message));
        match together.iter_mut().find(|(_, what)| *what == said.1) {
            Some((names, _)) => names.push(said.0),
            None => together.push((vec![said.0], said.1)),
        }
    }
    let line = |(names, what): &(Vec<&str>, &str)| match names[..] {
        [""] => (*what).to_owned(),
        _ => format!("{}: {what}", names.join(", ")),
    };
    together.iter().map(line).collect()
}

/// "1 layer", "2 layers".
fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn packages_of(layer: &PlannedLayerReport) -> String {
    match &layer.packages[..] {
        [only] => {
            let part = layer.part.map(|part| format!(", part {part}")).unwrap_or_default();
            format!("{} {}{part}", only.name, only.version)
        }
        several => several.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", "),
    }
}

fn state(state: LayerState) -> &'static str {
    match state {
        LayerState::Cached => "cached",
        LayerState::Registry => "registry",
        LayerState::ToBuild => "to build",
        LayerState::Unknown => "unknown",
    }
}

/// The begin of a digest, enough to tell layers apart.
fn short(digest: &str) -> &str {
    digest.strip_prefix("sha256:").and_then(|hex| hex.get(..12)).unwrap_or(digest)
}

/// So many packages are named; the others are counted.
const SHOWN: usize = 20;

fn listed(packages: &[String]) -> String {
    let more = packages.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", packages[..packages.len().min(SHOWN)].join(", "))
}
