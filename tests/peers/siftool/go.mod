module pixi-oci.test/peers/siftool

go 1.26.8

tool github.com/apptainer/sif/v2/cmd/siftool

require (
	github.com/apptainer/sif/v2 v2.25.0 // indirect
	github.com/google/go-containerregistry v0.22.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
)
