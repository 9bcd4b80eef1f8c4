//! Layers in the making, on several threads: the biggest of those whose packages are here comes next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::ScopedJoinHandle,
};

use pixi_oci_layer::MemoryBudget;

use crate::{
    Error,
    layers::{key::LayerKey, make::PackageLayer, plan::PlannedLayer},
    package::Package,
};

/// What one thread makes without a pause: one layer, or parts of one package, which is unpacked once for them.
pub struct Batch<'a> {
    /// In the order in which they are made.
    pub layers: Vec<PlannedLayer<'a>>,
    /// Of parts: how many the package has, where that is known.
    pub parts: Option<usize>,
}

impl<'a> Batch<'a> {
    /// The batches that make these layers, of each with how many parts its package has.
    pub fn all<'p>(layers: impl IntoIterator<Item = (&'p PlannedLayer<'a>, Option<usize>)>) -> Vec<Self>
    where
        'a: 'p,
    {
        let mut batches: Vec<Self> = Vec::new();
        for (planned, parts) in layers {
            match batches.last_mut().filter(|batch| batch.is_of(planned)) {
                Some(batch) => batch.layers.push(planned.clone()),
                None => batches.push(Self { layers: vec![planned.clone()], parts }),
            }
        }
        batches
    }

    /// Whether it makes another part of the same package.
    fn is_of(&self, planned: &PlannedLayer<'a>) -> bool {
        let package = |planned: &PlannedLayer<'a>| planned.part.and_then(|_| planned.packages.first().cloned());
        let own = self.layers.first().and_then(package);
        matches!((own, package(planned)), (Some(own), Some(other)) if Arc::ptr_eq(&own, &other))
    }

    pub fn packages(&self) -> impl Iterator<Item = &Arc<Package<'a>>> {
        self.layers.first().into_iter().flat_map(|planned| &planned.packages)
    }

    fn bytes(&self) -> u64 {
        self.layers.iter().map(|planned| planned.bytes).sum()
    }
}

/// Makes the layers of a batch, and gives each away when it is there; there may be fewer.
pub type Make<'m, 'a> =
    &'m (dyn Fn(&Batch<'a>, &MemoryBudget, &mut dyn FnMut(PackageLayer)) -> Result<(), Error> + Sync);

/// The layers of one image. Some are begun on a guess, before it is known which layers the image has.
pub struct Making<'m, 'a> {
    make: Make<'m, 'a>,
    /// What was made, once it is known to be wanted.
    on_made: &'m (dyn Fn(&PlannedLayer<'a>, &PackageLayer) + Sync),
    memory: MemoryBudget,
    queue: Mutex<Queue<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue<'a> {
    ready: Vec<Batch<'a>>,
    /// The layers that were begun, and those that are done.
    begun: BTreeSet<LayerKey>,
    done: BTreeMap<LayerKey, PackageLayer>,
    /// Which ones are wanted, once that is known.
    wanted: Option<BTreeSet<LayerKey>>,
    /// Whether it is told what is made; and what was made before.
    tells: bool,
    untold: Vec<PlannedLayer<'a>>,
    /// Whether no more layers come.
    ended: bool,
    failed: bool,
}

impl<'m, 'a> Making<'m, 'a> {
    /// None yet. Unpacked files of all layers share `memory`.
    pub fn new(
        memory: usize,
        make: Make<'m, 'a>,
        on_made: &'m (dyn Fn(&PlannedLayer<'a>, &PackageLayer) + Sync),
    ) -> Self {
        let memory = MemoryBudget::new(memory);
        Self { make, on_made, memory, queue: Mutex::default(), changed: Condvar::new() }
    }

    /// Makes what `feed` adds, on so many threads; gives what it gives, and the layers. The first error of `feed`, or of a
    /// layer that is wanted, ends all.
    pub fn run<T>(
        &self,
        threads: usize,
        feed: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, BTreeMap<LayerKey, PackageLayer>), Error> {
        let join = |worker: ScopedJoinHandle<'_, Result<(), Error>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work())).collect();
            let end = End(self);
            let fed = feed().inspect_err(|_| self.queue().failed = true);
            drop(end);
            let worked: Result<(), Error> = workers.into_iter().map(join).collect::<Vec<_>>().into_iter().collect();
            match (fed, worked) {
                // It was stopped because of the layer.
                (Err(Error::Interrupted), Err(error)) => Err(error),
                (fed, worked) => fed.and_then(|fed| worked.map(|()| (fed, std::mem::take(&mut self.queue().done)))),
            }
        })
    }

    /// Adds a batch whose packages are here.
    pub fn add(&self, batch: Batch<'a>) {
        self.queue().ready.push(batch);
        self.changed.notify_one();
    }

    /// Says which layers are wanted. Guesses that were begun and are not among them come to nothing; others have to be added
    /// again. Gives the layers that were begun.
    pub fn settle(&self, wanted: BTreeSet<LayerKey>) -> BTreeSet<LayerKey> {
        let mut queue = self.queue();
        queue.ready.clear();
        let begun = queue.begun.intersection(&wanted).copied().collect();
        queue.wanted = Some(wanted);
        begun
    }

    /// From now on it is told what was made; first of all, what was made before.
    pub fn tell(&self) {
        let mut queue = self.queue();
        queue.tells = true;
        for planned in std::mem::take(&mut queue.untold) {
            if let Some(made) = queue.done.get(&planned.key).filter(|_| queue.wants(&planned)) {
                (self.on_made)(&planned, made);
            }
        }
    }

    fn work(&self) -> Result<(), Error> {
        while let Some(batch) = self.next() {
            let mut layers = batch.layers.iter();
            let mut made = |layer| {
                if let Some(planned) = layers.next() {
                    self.made(planned, layer);
                }
            };
            let Err(error) = (self.make)(&batch, &self.memory, &mut made) else { continue };
            let mut queue = self.queue();
            let is_wanted = batch.layers.iter().any(|planned| queue.wants(planned));
            if is_wanted || matches!(error, Error::Interrupted) {
                queue.failed = true;
                self.changed.notify_all();
                return Err(error);
            }
            // Where it was a wrong guess, it does not matter; where it was right, it happens again.
            queue.begun.retain(|key| batch.layers.iter().all(|planned| planned.key != *key));
        }
        Ok(())
    }

    fn made(&self, planned: &PlannedLayer<'a>, layer: PackageLayer) {
        let mut queue = self.queue();
        if queue.tells && queue.wants(planned) {
            (self.on_made)(planned, &layer);
        } else {
            queue.untold.push(planned.clone());
        }
        queue.done.insert(planned.key, layer);
    }

    fn next(&self) -> Option<Batch<'a>> {
        let mut queue = self.queue();
        loop {
            if queue.failed {
                return None;
            }
            let biggest = (0..queue.ready.len()).max_by_key(|at| queue.ready[*at].bytes());
            if let Some(at) = biggest {
                let batch = queue.ready.swap_remove(at);
                let known = queue.begun.len();
                queue.begun.extend(batch.layers.iter().map(|planned| planned.key));
                if queue.begun.len() > known {
                    return Some(batch);
                }
            } else if queue.ended {
                return None;
            } else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue<'_> {
    fn wants(&self, planned: &PlannedLayer<'_>) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.contains(&planned.key))
    }
}

/// Lets the threads end, also when there is a panic.
struct End<'e, 'm, 'a>(&'e Making<'m, 'a>);

impl Drop for End<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, Mutex},
        time::Duration,
    };

    use pixi_oci_layer::{Compression, DiffId, Digest, Layer};
    use pixi_oci_package::TargetPrefix;

    use super::*;
    use crate::{layers::plan::LayerSource, report::LayerOrigin};

    /// A layer of this size, which is its name.
    fn planned(bytes: u64) -> PlannedLayer<'static> {
        let prefix = TargetPrefix::new(&format!("/{bytes}")).unwrap();
        let key = LayerKey::new(&[], None, &prefix, Compression::default());
        PlannedLayer { packages: Vec::new(), part: None, bytes, key, source: LayerSource::Make }
    }

    fn batch(bytes: u64) -> Batch<'static> {
        Batch { layers: vec![planned(bytes)], parts: None }
    }

    fn made(size: u64) -> PackageLayer {
        let digest = Digest::of(&size.to_le_bytes());
        let compression = Compression::default();
        let layer = Layer { digest, size, diff_id: DiffId(digest), tar_size: size, compression };
        PackageLayer { layer, findings: Default::default(), origin: LayerOrigin::Made }
    }

    fn keys(sizes: &[u64]) -> BTreeSet<LayerKey> {
        sizes.iter().map(|size| planned(*size).key).collect()
    }

    fn failure(bytes: u64) -> Error {
        Error::NotFetched { package: bytes.to_string() }
    }

    #[test]
    fn of_layers_that_wait_the_biggest_comes_next_and_each_is_made_once() {
        let (order, told, begun) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), Barrier::new(2));
        let make = |batch: &Batch<'_>, _: &MemoryBudget, give: &mut dyn FnMut(PackageLayer)| {
            order.lock().unwrap().push(batch.bytes());
            if batch.bytes() == 1 {
                begun.wait();
                begun.wait();
            }
            give(made(batch.bytes()));
            Ok(())
        };
        let on_made = |planned: &PlannedLayer<'_>, _: &PackageLayer| told.lock().unwrap().push(planned.bytes);
        let making = Making::new(0, &make, &on_made);
        let ((), layers) = making
            .run(1, || {
                making.add(batch(1));
                begun.wait();
                // 1 is begun: it need not be added again. 2 was a wrong guess that no thread began.
                making.add(batch(2));
                assert_eq!(making.settle(keys(&[1, 3, 9, 5])), keys(&[1]));
                making.tell();
                [3, 9, 5, 9].into_iter().for_each(|bytes| making.add(batch(bytes)));
                begun.wait();
                Ok(())
            })
            .unwrap();
        assert_eq!(*order.lock().unwrap(), [1, 9, 5, 3]);
        assert_eq!(*told.lock().unwrap(), [1, 9, 5, 3]);
        assert_eq!(layers.keys().copied().collect::<BTreeSet<_>>(), keys(&[1, 3, 9, 5]));
    }

    #[test]
    fn a_guess_that_fails_is_none_and_what_is_told_was_wanted() {
        let (told, ended) = (Mutex::new(Vec::new()), Barrier::new(2));
        let make = |batch: &Batch<'_>, _: &MemoryBudget, give: &mut dyn FnMut(PackageLayer)| match batch.bytes() {
            1 => Err(failure(1)),
            3 => {
                ended.wait();
                give(made(3));
                Ok(())
            }
            bytes => {
                give(made(bytes));
                Ok(())
            }
        };
        let on_made = |planned: &PlannedLayer<'_>, _: &PackageLayer| told.lock().unwrap().push(planned.bytes);
        let making = Making::new(0, &make, &on_made);
        let ((), layers) = making
            .run(1, || {
                [1, 2].into_iter().for_each(|bytes| making.add(batch(bytes)));
                making.add(batch(3));
                ended.wait();
                // Until the only thread has begun the last one.
                while !making.queue().ready.is_empty() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                making.settle(keys(&[3]));
                making.tell();
                Ok(())
            })
            .unwrap();
        assert_eq!(*told.lock().unwrap(), [3]);
        assert!(layers.contains_key(&planned(3).key) && !layers.contains_key(&planned(1).key));
    }

    #[test]
    fn a_layer_that_cannot_be_made_ends_the_others_and_is_what_is_reported() {
        let count = Mutex::new(0);
        let make = |batch: &Batch<'_>, _: &MemoryBudget, give: &mut dyn FnMut(PackageLayer)| {
            *count.lock().unwrap() += 1;
            if batch.bytes() == 100 {
                return Err(failure(100));
            }
            give(made(batch.bytes()));
            Ok(())
        };
        let making = Making::new(0, &make, &|_, _| ());
        let all: Vec<u64> = (1..=100).collect();
        let failed = making.run(1, || {
            making.settle(keys(&all));
            let mut queue = making.queue();
            queue.ready.extend(all.iter().map(|bytes| batch(*bytes)));
            drop(queue);
            making.changed.notify_all();
            // As who waits for a package that does not come any more.
            while !making.queue().failed {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err::<(), _>(Error::Interrupted)
        });
        assert!(matches!(failed, Err(Error::NotFetched { package }) if package == "100"));
        assert_eq!(*count.lock().unwrap(), 1);
    }

    #[test]
    fn layers_share_one_budget_of_memory() {
        let budgets = Mutex::new(Vec::new());
        let make = |batch: &Batch<'_>, memory: &MemoryBudget, give: &mut dyn FnMut(PackageLayer)| {
            budgets.lock().unwrap().push(format!("{memory:?}"));
            give(made(batch.bytes()));
            Ok(())
        };
        let making = Making::new(12345, &make, &|_, _| ());
        let feed = || {
            (1..9).for_each(|bytes| making.add(batch(bytes)));
            Ok(())
        };
        making.run(2, feed).unwrap();
        let budgets = budgets.into_inner().unwrap();
        assert!(budgets.len() == 8 && budgets.iter().all(|budget| budget.contains("total: 12345")), "{budgets:?}");
    }
}
