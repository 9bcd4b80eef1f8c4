//! A plan as text.

use std::fmt::Write;

use pixi_oci_build::{EnvironmentPlan, LayerKind, LayerPlan, LayerState, Plan};

use crate::progress::size;

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
    let (name, packages, bytes) = (&plan.platform, plan.packages, size(plan.bytes));
    writeln!(text, "{environment} {name}: {packages} packages, {bytes} in {layers} layers")?;
    if !plan.needs.is_empty() {
        let needs: Vec<_> = plan.needs.iter().map(|need| format!("{} ({})", need.text(), need.package)).collect();
        writeln!(text, "  needs {}", needs.join(", "))?;
    }
    for (number, layer) in plan.layers.iter().enumerate() {
        let bytes = layer.size.map_or_else(|| format!("~{}", size(layer.bytes)), size);
        let key = layer.key.as_deref().map_or("", short);
        let state = state(layer.state);
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
    for unpredicted in &plan.unpredicted {
        writeln!(text, "{name}: digest not known: {}", unpredicted.message)?;
    }
    let download = &plan.download;
    let more = if download.at_most_bytes > download.bytes {
        format!(", or up to {}", size(download.at_most_bytes))
    } else {
        String::new()
    };
    write!(text, "{name}: to download {} archives, {}{more}", download.archives, size(download.bytes))?;
    if download.layers > 0 {
        write!(text, "; and {} layers, {}", download.layers, size(download.layer_bytes))?;
    }
    writeln!(text)
}

fn packages_of(layer: &LayerPlan) -> String {
    match &layer.packages[..] {
        [only] => format!("{} {}", only.name, only.version),
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
