module labctl/bundle/pause

go 1.26.0
