"""Pages and figures as such: looks, axes and templates; nothing here knows records."""
