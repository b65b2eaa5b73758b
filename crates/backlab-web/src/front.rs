//! The front: a page that is held is sent from here, and everything else goes on to the router.
//!
//! A page is read far more often than anything is tried, and finding its handler costs more than sending it.

use crate::{Site, guard, rendered};
use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone)]
pub(crate) struct Front {
    site: Arc<Site>,
    router: TowerToHyperService<Router>,
}

impl Front {
    pub(crate) fn new(site: Arc<Site>, router: Router) -> Self {
        Self { site, router: TowerToHyperService::new(router) }
    }

    /// The guard stands on both ways; a request that it refuses here goes to the router's to be told why.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        let began = Instant::now();
        if guard::check(&self.site, &request).is_ok()
            && let Some((page, response)) = rendered::held(&self.site, &request)
        {
            self.site.metrics.answered(page.route(), response.status(), began.elapsed());
            return response;
        }
        match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
