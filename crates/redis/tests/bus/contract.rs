//! The contract of every bus, in each mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye_cluster::Bus;
use sockeye_cluster::contract::bus::{self, Cluster, Manners};
use sockeye_redis::wire::{Streams, SubscriptionMode};
use sockeye_redis::{RedisBus, RedisConfig, RedisMode};

use crate::common::RedisServer;

/// Each part of the suite has a prefix of its own on one server.
struct OnRedis {
    url: String,
    mode: RedisMode,
    secret: Option<&'static [u8]>,
    prefix: String,
}

impl OnRedis {
    fn new(redis: &RedisServer, mode: RedisMode, secret: Option<&'static [u8]>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            url: redis.url(),
            mode,
            secret,
            prefix: format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Cluster for OnRedis {
    async fn join(&mut self, name: &str) -> Arc<dyn Bus> {
        let config = RedisConfig::new(&self.url, name).expect("a URL");
        let mut config = config.mode(self.mode).with_prefix(&self.prefix);
        if let Some(secret) = self.secret {
            config = config.secret(secret);
        }
        if self.mode == RedisMode::Streams {
            // More than one, so that some namespaces go where Node.js does not look.
            let streams = Streams::new().channel_prefix(&*self.prefix).count(3);
            config = config.streams(streams.name(&*self.prefix));
        }
        Arc::new(RedisBus::new(config).expect("a configuration"))
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    fn manners(&self) -> Manners {
        match self.mode {
            RedisMode::Classic => Manners {
                routes: false,
                names: false,
                counts: false,
                rooms: true,
                one_way: true,
            },
            RedisMode::Streams => Manners {
                routes: false,
                names: false,
                counts: false,
                rooms: false,
                one_way: false,
            },
            RedisMode::Sharded(mode) => Manners {
                routes: mode != SubscriptionMode::Static,
                names: false,
                counts: false,
                rooms: false,
                one_way: true,
            },
            _ => Manners::native(),
        }
    }
}

#[tokio::test]
async fn the_native_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Native, None)).await;
}

#[tokio::test]
async fn the_authenticated_native_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Native, Some(b"secret"))).await;
}

#[tokio::test]
async fn the_classic_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Classic, None)).await;
}

#[tokio::test]
async fn the_sharded_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    for mode in [
        SubscriptionMode::Static,
        SubscriptionMode::Dynamic,
        SubscriptionMode::DynamicPrivate,
    ] {
        bus::all(|| OnRedis::new(&redis, RedisMode::Sharded(mode), None)).await;
    }
}

#[tokio::test]
async fn the_streams_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Streams, None)).await;
}
