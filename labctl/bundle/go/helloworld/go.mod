module labctl/bundle/helloworld

go 1.26.0
