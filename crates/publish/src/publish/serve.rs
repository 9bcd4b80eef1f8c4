//! The pushes, once everything is made. Registries are served at the same time; the repositories of one after another, because
//! blobs are linked to the later ones from the earlier ones.

mod settle;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use pixi_oci_layer::Digest;
use pixi_oci_pipeline::Published;
use pixi_oci_registry::{
    Repository,
    push::{Ahead, PushPlan, push},
};

use crate::{
    content::{
        blobs,
        mount::{Bases, Mountable},
        pushed::Pushed,
    },
    destination::{Connection, Destination},
    early::publish_started,
    error::PublishError,
    publish::serve::settle::settle,
    report::{
        DestinationReport,
        outcome::{destination_report, unchecked},
    },
    request::{Publishing, target::PublishTarget},
    tags::{TagPlan, TagsThere},
};

/// What all pushes of a run need.
pub struct Serving<'a> {
    pub run: &'a Publishing<'a>,
    pub remote: Option<&'a Published>,
    pub bases: &'a Bases,
    pub sent: &'a Pushed,
}

impl Serving<'_> {
    /// Pushes what each destination is to get, of which some is there `ahead`. The reports are in the order of the
    /// destinations. What fails at one repository is in its report.
    pub fn serve(
        &self,
        destinations: Vec<Destination>,
        mut ahead: BTreeMap<Repository, Ahead>,
    ) -> Result<Vec<DestinationReport>, PublishError> {
        let mut hosts: BTreeMap<String, Vec<(usize, Destination, Option<Ahead>)>> = BTreeMap::new();
        for (place, destination) in destinations.into_iter().enumerate() {
            let PublishTarget { repository, .. } = &destination.target;
            let ahead = (!destination.target.is_sif()).then(|| ahead.remove(repository)).flatten();
            hosts.entry(repository.host().to_owned()).or_default().push((place, destination, ahead));
        }
        let all = join_all(hosts.into_values().map(|of_host| self.serve_host(of_host)));
        let mut reports: Vec<(usize, DestinationReport)> = self.run.session.run(all)?.into_iter().flatten().collect();
        reports.sort_by_key(|(place, _)| *place);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    /// One that fails does not keep the others from being served.
    async fn serve_host(&self, of_host: Vec<(usize, Destination, Option<Ahead>)>) -> Vec<(usize, DestinationReport)> {
        let (mut served, mut reports) = (Vec::new(), Vec::new());
        for (place, destination, ahead) in of_host {
            let Some((plan, tags)) = destination.plan else { continue };
            let target = &destination.target;
            let report = match &destination.state {
                Ok(open) => self.serve_one(target, open, (plan, tags), ahead, &mut served).await,
                Err(_) => unchecked(target, &plan, &tags),
            };
            reports.push((place, report));
        }
        reports
    }

    async fn serve_one(
        &self,
        target: &PublishTarget,
        open: &Connection,
        (mut plan, mut tags): (PushPlan, TagPlan),
        ahead: Option<Ahead>,
        served: &mut Vec<(Repository, Vec<Digest>)>,
    ) -> DestinationReport {
        let (repository, blobs) = (&target.repository, blobs(&plan));
        let Ahead { arrived, failure } = ahead.unwrap_or_else(|| {
            self.run.session.emit(publish_started(repository, &plan));
            Ahead::default()
        });
        plan.arrived = arrived;
        plan.seen = self.remote.map(|remote| remote.arrived(repository)).unwrap_or_default();
        let mountable = Mountable { served, remote: self.remote, bases: self.bases, sent: self.sent, blobs: &blobs };
        plan.mount_from = mountable.from(repository);
        let pushed = async {
            if let Some(error) = failure {
                return Err(error);
            }
            let pushed = push(&plan, &open.registry).await?;
            let planned = |known: &TagsThere| self.run.tags(&target.form, &[], known);
            tags.kept.extend(settle(&plan, &pushed, &open.registry, &target.form, planned).await?);
            Ok(pushed)
        };
        let pushed = pushed.await;
        if pushed.is_ok() {
            if !self.run.request.dry_run {
                self.sent.put(repository, &blobs);
            }
            served.push((repository.clone(), blobs));
        }
        destination_report(self.run.request, target, &plan, &tags, pushed)
    }
}
