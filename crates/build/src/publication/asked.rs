//! The repositories of a publication, asked before anything is built: what they have already.

use futures_util::{StreamExt, TryStreamExt, stream};
use pixi_oci_image::Descriptor;
use pixi_oci_publish::registry::{Error, Repository};

use super::{
    PublishError, PublishRequest, in_one_line,
    publish::{Stop, open, remote, tags},
    settings::{Settings, settings},
};
use crate::{OnEvent, network::Network, remote::Published};

/// So many questions at a time; no registry minds three.
const PARALLEL: usize = 3;

/// Repositories that were asked whether they are there.
pub struct Asked<'a> {
    network: Network<'a>,
    stops: Vec<Stop>,
}

/// What a repository has.
pub struct Stock {
    /// Which one.
    pub repository: Repository,
    /// Of each blob whether it is there; or why that is not known.
    pub has: Result<Vec<bool>, String>,
}

/// Asks the repositories of `request`, a dry run. The second is what layers are taken from, by the rules of a publication.
///
/// # Errors
///
/// No repository is configured. One that does not answer is no error.
pub fn ask<'a>(
    request: &'a PublishRequest,
    on_event: OnEvent<'a>,
) -> Result<(Asked<'a>, Option<Published<'a>>), PublishError> {
    let settings: Settings = settings(request)?;
    let version = request.facts.version();
    let mut network = Network::new(&request.build.interrupted, on_event)?;
    let stops = open(request, &settings, &[], &mut network)?;
    // Without a version nobody knows which tag is put again.
    let remote = match tags(request, &settings, version.as_ref(), None, &[]) {
        Ok(tags) => remote(request, &settings, version.as_ref(), &tags, &stops, on_event)?,
        Err(_) => None,
    };
    Ok((Asked { network, stops }, remote))
}

impl Asked<'_> {
    /// Asks every repository for the blobs.
    ///
    /// # Errors
    ///
    /// Somebody wants it to end.
    pub fn stock(&mut self, blobs: &[Descriptor]) -> Result<Vec<Stock>, crate::Error> {
        let mut stocks = Vec::new();
        for stop in &self.stops {
            let has: Result<Vec<bool>, String> = match &stop.state {
                Err(error) => Err(in_one_line(error)),
                Ok(open) => {
                    let ask = stream::iter(blobs.iter().map(|blob| open.registry.has_blob(blob)));
                    let has: Result<_, Error> = self.network.run(ask.buffered(PARALLEL).try_collect())?;
                    has.map_err(|error| in_one_line(&error))
                }
            };
            stocks.push(Stock { repository: stop.repository.clone(), has });
        }
        Ok(stocks)
    }
}
